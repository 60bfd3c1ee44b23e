"use client";
import { useEffect, useSyncExternalStore } from "react";
import { createRealtime } from "@pm-realtime/client";

const realtime = createRealtime({ url: "/api/ws", shared: true, autoConnect: true });

export function Status() {
  const { subscribe, getSnapshot } = realtime.store;
  const { connected, status } = useSyncExternalStore(subscribe, getSnapshot, getSnapshot);
  useEffect(() => {
    realtime.connect();
    const subscription = realtime.subscribe("support");
    return () => void subscription.leave();
  }, []);
  return <p>{`connected: ${connected}, ${status}`}</p>;
}
