/**
 * What the work gives, or the signal's reason as soon as it aborts; the work itself may go on, unheard.
 *
 * @param signal aborted already: nothing is begun
 */
export async function unlessAborted<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  signal?.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  const working = work()
  // Heard by nobody once the signal has aborted.
  working.catch(() => undefined)
  try {
    return await Promise.race([working, aborted])
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}
