// Bytes: put together, in base64, and read from a stream.

/** All parts as one. */
export function joined(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function base64(bytes) {
  let binary = '';
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

/** All that a stream gives; null if that is more than the limit. */
export async function allBytes(reader, limit = Infinity) {
  const parts = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return joined(parts);
    parts.push(value);
    length += value.length;
    if (length > limit) return null;
  }
}

/** The first bytes of a response; what is beyond the limit, or comes after the signal, is not read. */
export async function firstBytes(response, limit, signal) {
  if (response.body === null) return new Uint8Array(0);
  const parts = [];
  let length = 0;
  const reader = response.body.getReader();
  signal?.addEventListener('abort', () => reader.cancel().catch(() => {}), { once: true });
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    if (length > limit) {
      reader.cancel().catch(() => {});
      break;
    }
  }
  return joined(parts);
}

