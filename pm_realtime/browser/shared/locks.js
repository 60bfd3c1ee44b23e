/**
 * Asks for the Web Lock `name`, and holds it from then on until `release()`.
 *
 * `onGranted()`: the lock is held. `onRefused()`: another tab has it, and `ifAvailable` was asked
 * for. `onLost()`: another tab took it with `steal`. `onDenied()`: the browser gives this page no
 * locks. None of them comes after `release()`.
 */
export function requestLock(locks, name, { onGranted, onRefused, onLost, onDenied, ...options }) {
  const abort = new AbortController();
  let over = false;
  let letGo;
  const released = new Promise((resolve) => {
    letGo = resolve;
  });
  // Browsers refuse a signal together with these options.
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
