export function createDeferred() {
  const deferred = {};
  deferred.promise = new Promise((resolve, reject) => {
    deferred.resolve = resolve;
    deferred.reject = reject;
  });
  ignorable(deferred.promise);
  return deferred;
}

// Without an unhandled rejection.
export function ignorable(promise) {
  promise.catch(() => {});
  return promise;
}
