/** A promise with its `resolve` and `reject`. It may be ignored, see `ignorable`. */
export function createDeferred() {
  const deferred = {};
  deferred.promise = new Promise((resolve, reject) => {
    deferred.resolve = resolve;
    deferred.reject = reject;
  });
  ignorable(deferred.promise);
  return deferred;
}

/** The same promise; if nobody handles its rejection, the page gets no `unhandledrejection`. */
export function ignorable(promise) {
  promise.catch(() => {});
  return promise;
}
