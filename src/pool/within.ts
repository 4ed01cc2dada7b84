/** What {@link within} rejects with. */
export class LimitExceeded extends Error {}

/**
 * Waits for `work` for at most `millis`, then rejects with {@link LimitExceeded}. What becomes of the work after
 * that is nobody's concern; its late rejection is no unhandled one. Its timer holds no process.
 */
export function within<T>(work: Promise<T>, millis: number): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(new LimitExceeded(`Not done within ${millis} ms`)), millis).unref()
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
