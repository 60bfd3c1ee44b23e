/**
 * Asks for the Web Lock `name`, and holds it once granted until `release()`.
 *
 * `onGranted()` comes when it is held; `onRefused()` where it is not and `ifAvailable` was asked;
 * `onLost()` when another took it by `steal`; `onDenied()` where the browser gives this page no
 * locks. None of them comes after `release()`.
 */
export function requestLock(locks, name, { onGranted, onRefused, onLost, onDenied, ...options }) {
  const abort = new AbortController();
  let over = false;
  let letGo;
  const released = new Promise((resolve) => {
    letGo = resolve;
  });
  // The platform refuses a signal along with the two others.
  const signal = options.steal || options.ifAvailable ? {} : { signal: abort.signal };
  const hold = (lock) => {
    if (over) return undefined;
    if (!lock) {
      over = true;
      onRefused?.();
      return undefined;
    }
    onGranted?.();
    return released;
  };
  const request = async () => locks.request(name, { ...options, ...signal }, hold);
  request().catch(({ name: kind }) => {
    if (over) return;
    over = true;
    if (kind === "AbortError") onLost?.();
    else onDenied?.();
  });

  return {
    release() {
      over = true;
      abort.abort();
      letGo();
    },
  };
}
