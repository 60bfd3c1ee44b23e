/** Imports npm packages from the folder in PM_REALTIME_NODE_MODULES, if that is set. */
import * as module from "node:module";
import { pathToFileURL } from "node:url";

const folder = process.env.PM_REALTIME_NODE_MODULES;
if (folder) {
  const parentURL = pathToFileURL(`${folder}/any.js`).href;
  const hooks = `
    const names = /^(vue|happy-dom)(\\/|$)/;
    export const resolve = (specifier, context, next) => next(
      specifier,
      names.test(specifier) ? { ...context, parentURL: ${JSON.stringify(parentURL)} } : context,
    );
  `;
  const url = `data:text/javascript,${encodeURIComponent(hooks)}`;
  if (module.registerHooks) module.registerHooks({ resolve: (await import(url)).resolve });
  else module.register(url);
}
