/** The support room in Vue: panels that open and close, on the one connection of the page. */

import { createApp, h, ref } from "vue";

import { useCommand, usePresence, useWebSocket } from "../pm_realtime/vue.js";

const ROOM = "support";

/** The status of the connection. */
const Connection = {
  setup() {
    const { connected, connectionId, role, userId, ping } = useWebSocket();
    const roundTrip = ref("");
    const measure = async () => {
      try {
        roundTrip.value = `${Math.round(await ping())} ms to the server and back`;
      } catch (error) {
        roundTrip.value = error.message;
      }
    };
    return () =>
      h("section", { class: "card", "aria-label": "Connection", "data-testid": "connection" }, [
        h("h2", connected.value ? "Connected" : "Not connected"),
        h(
          "p",
          { "data-testid": "identity", "data-connection": connectionId.value },
          connected.value ? `User ${userId.value}, as ${role.value}` : "Nobody",
        ),
        h("div", { class: "form-foot" }, [
          h("button", { class: "button button-quiet", type: "button", onClick: measure }, "Ping"),
          h("p", { class: "form-result", role: "status", "data-testid": "ping" }, roundTrip.value),
        ]),
      ]);
  },
};

/** A panel. It is in the room while it is mounted. */
const Panel = {
  props: { number: { type: Number, required: true } },
  setup(props) {
    const { subscribe, on } = useWebSocket();
    const { members, total } = usePresence(ROOM);
    const { call: send, pending, error } = useCommand("support.send", { room: ROOM });
    const texts = ref([]);
    const state = ref("Joining…");

    on("support.message", ({ payload: { author, text } }) => {
      texts.value.push(`${author.name}: ${text}`);
    });
    subscribe(ROOM).then(
      () => {
        state.value = "In the room";
      },
      (error) => {
        state.value = error.message;
      },
    );

    return () =>
      h("section", { class: "card", "aria-label": `Panel ${props.number}`, "data-testid": "panel" }, [
        h("h2", `Panel ${props.number}`),
        h("p", { class: "help", role: "status", "data-testid": "panel-state" }, error.value?.message ?? state.value),
        h(
          "p",
          { class: "help", "data-testid": "panel-people" },
          total.value ? `${total.value} here: ${members.value.map(({ info }) => info.name).join(", ")}` : "",
        ),
        h("ul", { "data-testid": "panel-texts" }, texts.value.map((text) => h("li", text))),
        h(
          "button",
          {
            class: "button",
            type: "button",
            "aria-busy": String(pending.value),
            onClick: () => send({ text: `Hello from panel ${props.number}` }),
          },
          "Say hello",
        ),
      ]);
  },
};

const Page = {
  setup() {
    const numbers = ref([1, 2]);
    let last = 2;
    const open = () => numbers.value.push((last += 1));
    const close = () => numbers.value.pop();
    return () => [
      h(Connection),
      h("div", { class: "form-foot" }, [
        h("button", { class: "button", type: "button", onClick: open }, "Open a panel"),
        h(
          "button",
          { class: "button button-quiet", type: "button", disabled: !numbers.value.length, onClick: close },
          "Close a panel",
        ),
      ]),
      h("div", { class: "columns" }, numbers.value.map((number) => h(Panel, { key: number, number }))),
    ];
  },
};

createApp(Page).mount("[data-vue]");
