import type { Pointer } from './load.ts'

/**
 * Owns one native object. It may be disposed at any time; the object itself is released when the last call that
 * uses it has ended, because releasing it under a call in flight ends the process.
 */
export class Handle implements Disposable {
  #pointer: Pointer | null
  #uses = 0
  #disposed = false
  readonly #release: (pointer: Pointer) => void

  constructor(pointer: Pointer | null, release: (pointer: Pointer) => void) {
    this.#pointer = pointer
    this.#release = release
  }

  /** The pointer for a call that returns before anything else runs. */
  get pointer(): Pointer | null {
    this.#mustLive()
    return this.#pointer
  }

  /** The pointer for a call that runs while {@link hold} keeps the object alive, even if it was disposed meanwhile. */
  get held(): Pointer | null {
    if (this.#uses === 0) throw new Error('This Kerberos handle is not held')
    return this.#pointer
  }

  get isHeld(): boolean {
    return this.#uses > 0
  }

  /** A native call may make or replace its object (a security context is made by its first step). */
  replace(pointer: Pointer | null): void {
    this.#pointer = pointer
  }

  /** Keeps the object alive until the returned function is called. */
  hold(): () => void {
    this.#mustLive()
    this.#uses++
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#uses--
      this.#releaseWhenIdle()
    }
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#releaseWhenIdle()
  }

  #mustLive(): void {
    if (this.#disposed) throw new Error('This Kerberos handle was disposed')
  }

  #releaseWhenIdle(): void {
    if (!this.#disposed || this.#uses > 0 || this.#pointer === null) return
    const pointer = this.#pointer
    this.#pointer = null
    this.#release(pointer)
  }
}
