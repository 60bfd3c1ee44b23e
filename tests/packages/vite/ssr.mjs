/** Renders the entry as Vite does during development, and as it is built for a server. */
import { build, createServer } from "vite";

const settings = { root: import.meta.dirname, logLevel: "silent", configFile: false };
const server = await createServer({ ...settings, server: { middlewareMode: true }, appType: "custom" });
console.log((await server.ssrLoadModule("/entry.jsx")).render());
await server.close();
for (const [outDir, noExternal] of [["out", []], ["out-bundled", true]]) {
  await build({ ...settings, ssr: { noExternal }, build: { ssr: "entry.jsx", outDir } });
  console.log((await import(`./${outDir}/entry.js`)).render());
}
await build({ ...settings, build: { lib: { entry: "entry.jsx", formats: ["es"] }, outDir: "out-browser" } });
console.log("built");
