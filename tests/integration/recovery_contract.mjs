/**
 * Runs the contract of recovery with a real server. The argument is JSON: `{ url, webSocketUrl,
 * cookie, user }`. Prints the names of the scenarios that pass, and ends with the first that fails.
 */
import { scenarios } from "../js/recovery_contract.js";

const { url, webSocketUrl, cookie, user } = JSON.parse(process.argv[2]);

class Socket extends WebSocket {
  constructor(address, protocols) {
    super(address, { protocols, headers: { cookie } });
  }
}

async function push({ room, to }, n) {
  const target = to === "user" ? { user } : { room };
  const query = new URLSearchParams({ ...target, payload: JSON.stringify({ n }) });
  const answer = await fetch(`${url}/push/?${query}`);
  if ((await answer.text()) !== "sent") throw new Error(`Not pushed: ${answer.status}`);
}

for (const [name, run] of Object.entries(scenarios)) {
  await run({ url: webSocketUrl, WebSocket: Socket, push });
  console.log(name);
}
process.exit();
