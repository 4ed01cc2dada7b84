import { inspect } from 'node:util'

const HIDDEN = '[secret]'

/**
 * A value that must not be seen. It prints as `[secret]` as a string, as JSON, through `util.inspect`
 * and inside an error's cause; only {@link Secret.reveal} gives it back.
 *
 * @example
 * const password = new Secret('s3cret')
 * console.log(`${password}`, JSON.stringify({ password })) // [secret] {"password":"[secret]"}
 * password.reveal() // 's3cret'
 */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** Wraps a string; a Secret is passed through. */
  static from(value: string | Secret): Secret {
    return value instanceof Secret ? value : new Secret(value)
  }

  /** The value itself. Call it at the last moment and keep the result in no field. */
  reveal(): string {
    return this.#value
  }

  equals(other: Secret | undefined): boolean {
    return other !== undefined && other.reveal() === this.reveal()
  }

  toString(): string {
    return HIDDEN
  }

  toJSON(): string {
    return HIDDEN
  }

  [Symbol.toPrimitive](): string {
    return HIDDEN
  }

  [inspect.custom](): string {
    return HIDDEN
  }
}

/**
 * A secret that a store holds, under its present value. Its value is the one that was read from the store last, so it must
 * not be compared over time: take a copy, `new Secret(live.reveal())`. Until the first
 * reading, the text that it was made of stands for it.
 */
export class LiveSecret extends Secret {
  #present: Secret | undefined

  set present(secret: Secret) {
    this.#present = secret
  }

  override reveal(): string {
    return this.#present === undefined ? super.reveal() : this.#present.reveal()
  }
}

/** Replaces every occurrence of the given secrets in a text that we did not write (a server's or an SDK's message). */
export function redact(text: string, secrets: Iterable<Secret | undefined>): string {
  let result = text
  for (const secret of secrets) {
    const value = secret?.reveal()
    if (value !== undefined && value.length > 0) result = result.replaceAll(value, HIDDEN)
  }
  return result
}
