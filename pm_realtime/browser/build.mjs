/**
 * Builds the client: `npm run build`.
 *
 * Each entry of this folder becomes one ES module in `static/pm_realtime/`, with a source map. An
 * entry that imports another one keeps the import, so that a page has one copy of the client.
 * `commonjs/` has the same for `require()` and for Jest, with the declarations, for the npm package
 * only. `--outdir=FOLDER` writes somewhere else, as the test for stale files does.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** The lowest versions that run the client. docs/client.md names them, a test compares them. */
const LOWEST_VERSIONS = ["chrome85", "firefox79", "safari14"];
/**
 * esbuild does not trust Safari 14 with the one and Chrome 85 with the other, because of rare cases that
 * the sources do not have. Of the second it is `a?.b(...list, more)`.
 */
const SUPPORTED = { destructuring: true, "optional-chain": true };
const ENTRIES = ["client", "shared", "vue", "auto"];
const SOURCES = fileURLToPath(new URL(".", import.meta.url));
const STATIC = fileURLToPath(new URL("../static/pm_realtime", import.meta.url));
const TESTING = fileURLToPath(new URL("../static/pm_realtime_testing", import.meta.url));

const { outdir } = parseArgs({ options: { outdir: { type: "string" } } }).values;
const installed = fileURLToPath(new URL("../../node_modules", import.meta.url));
const packages = process.env.PM_REALTIME_NODE_MODULES ?? installed;
const { build } = createRequire(join(packages, "any.js"))("esbuild");

const separateEntries = (extension) => ({
  name: "separate-entries",
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`/(${ENTRIES.join("|")})\\.js$`) }, ({ kind, path }) =>
      kind === "entry-point"
        ? undefined
        : { path: `./${basename(path, ".js")}${extension}`, external: true, sideEffects: false },
    );
  },
});

const common = {
  absWorkingDir: SOURCES,
  write: false,
  bundle: true,
  target: LOWEST_VERSIONS,
  minify: true,
  external: ["vue"],
  banner: { js: "// Built from pm_realtime/browser by `npm run build`." },
};

const modules = await build({
  ...common,
  entryPoints: ENTRIES.map((name) => `./${name}.js`),
  // Source maps name their sources as seen from here, wherever the files are written to.
  outdir: STATIC,
  format: "esm",
  supported: SUPPORTED,
  sourcemap: true,
  plugins: [separateEntries(".js")],
});

const required = await build({
  ...common,
  entryPoints: [...["client", "shared", "vue"].map((name) => `./${name}.js`), `${TESTING}/testing.js`],
  entryNames: "[name]",
  outdir: join(SOURCES, "commonjs"),
  outExtension: { ".js": ".cjs" },
  format: "cjs",
  // Jest has no import().
  supported: { ...SUPPORTED, "dynamic-import": false },
  plugins: [separateEntries(".cjs")],
});

const declarations = [`${STATIC}/client`, `${STATIC}/constants`, `${STATIC}/vue`, `${TESTING}/testing`];

write(outdir ?? STATIC, modules.outputFiles);
write(outdir ?? join(SOURCES, "commonjs"), [
  ...required.outputFiles,
  ...declarations.map((path) => ({
    path: `${path}.d.cts`,
    contents: readFileSync(`${path}.d.ts`, "utf8").replace(
      /"[./]+(?:pm_realtime\/)?(\w+)\.js"/g,
      '"./$1.cjs"',
    ),
  })),
]);

function write(folder, files) {
  mkdirSync(folder, { recursive: true });
  for (const { path, contents } of files) writeFileSync(join(folder, basename(path)), contents);
}
