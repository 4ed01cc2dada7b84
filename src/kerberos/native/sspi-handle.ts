/** A CredHandle, a CtxtHandle, a TimeStamp: two or one machine words. */
const HANDLE_BYTES = 16

/** A handle of SSPI's with a count of the calls that use it: freed when it is disposed of and the last has ended. */
export class SspiHandle implements Disposable {
  readonly bytes = Buffer.alloc(HANDLE_BYTES)
  isMade = false
  #uses = 0
  #disposed = false
  readonly #free: (bytes: Uint8Array) => void

  constructor(free: (bytes: Uint8Array) => void) {
    this.#free = free
  }

  async hold<T>(work: () => Promise<T>): Promise<T> {
    if (this.#disposed) throw new Error('This Kerberos handle was disposed')
    this.#uses++
    try {
      return await work()
    } finally {
      this.#uses--
      this.#freeWhenIdle()
    }
  }

  get live(): Buffer {
    if (this.#disposed || !this.isMade) throw new Error('The security context is not established')
    return this.bytes
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#freeWhenIdle()
  }

  #freeWhenIdle(): void {
    if (!this.#disposed || this.#uses > 0 || !this.isMade) return
    this.isMade = false
    this.#free(this.bytes)
  }
}
