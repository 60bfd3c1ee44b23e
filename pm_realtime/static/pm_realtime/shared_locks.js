/**
 * Asks for the Web Lock `name`, and holds it once granted until `release()`.
 *
 * `onGranted()` comes when it is held; `onRefused()` where it is not and `ifAvailable` was asked;
 * `onLost()` when another took it by `steal`. None of them comes after `release()`.
 */
export function requestLock(locks, name, { onGranted, onRefused, onLost, ...options }) {
  const abort = new AbortController();
  let over = false;
  let letGo;
  const released = new Promise((resolve) => {
    letGo = resolve;
  });
  // The platform refuses a signal along with the two others.
  const signal = options.steal || options.ifAvailable ? {} : { signal: abort.signal };
  locks
    .request(name, { ...options, ...signal }, (lock) => {
      if (over) return undefined;
      if (!lock) {
        over = true;
        onRefused?.();
        return undefined;
      }
      onGranted?.();
      return released;
    })
    .catch(() => {
      if (over) return;
      over = true;
      onLost?.();
    });

  return {
    release() {
      over = true;
      abort.abort();
      letGo();
    },
  };
}
