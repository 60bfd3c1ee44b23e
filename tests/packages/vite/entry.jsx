import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { useSyncExternalStore } from "react";
import { createRealtime } from "@pm-realtime/client";

const realtime = createRealtime({ shared: true, autoConnect: true });

function Status() {
  const { subscribe, getSnapshot } = realtime.store;
  const { status } = useSyncExternalStore(subscribe, getSnapshot, getSnapshot);
  return createElement("p", null, status);
}

export const render = () => renderToString(createElement(Status));
