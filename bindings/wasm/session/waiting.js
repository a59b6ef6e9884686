// Work that ends with a signal, or in time.

/** Waits for work, or for the signal: the work goes on for others. */
export function abortable(work, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Does work with a signal that follows another one and ends after so many milliseconds. */
export async function within(milliseconds, followed, work) {
  // Not `AbortSignal.timeout`: in Node what `any` returns does not keep it, and a collection of garbage would take the limit away.
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new DOMException(`it took longer than ${milliseconds} ms`, 'TimeoutError')), milliseconds);
  try {
    return await work(AbortSignal.any([followed, limit.signal]));
  } finally {
    clearTimeout(timer);
  }
}

/** Lets so many milliseconds pass, unless the signal comes first. */
export function pause(milliseconds, signal) {
  let timer;
  const passed = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  return abortable(passed, signal).finally(() => clearTimeout(timer));
}
