import { isDeepStrictEqual } from 'node:util'
import { inSentence, PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import { Secret } from '../secret.ts'
import { isRecord, objectOf } from './json.ts'

/** The content of a store under one path: a text, or named fields. Its content shows nowhere. */
export class StoredSecret {
  readonly #content: string | Readonly<Record<string, unknown>>
  /** As the store counts versions; undefined for a store without them. */
  readonly version: string | undefined
  /** When this version was written, in milliseconds since the epoch; undefined where the store does not say. */
  readonly writtenAt: number | undefined

  constructor(content: string | Readonly<Record<string, unknown>>, version?: string, writtenAt?: number) {
    this.#content = content
    this.version = version
    this.writtenAt = Number.isFinite(writtenAt) ? writtenAt : undefined
  }

  /**
   * The whole text, or one field of it. Where none is named, a secret with a single field gives that.
   *
   * @param place names the secret in errors: `secret/sales in Vault vault.example.com:8200`
   * @throws PoolsmithError SECRET_FIELD_MISSING, SECRET_UNUSABLE
   */
  read(field: string | undefined, place: string): Secret {
    const content = this.#content
    if (field === undefined && typeof content === 'string') return usable(content, place)
    const fields = typeof content === 'string' ? objectOf(content) : content
    if (fields === undefined) {
      throw fault(
        'SECRET_UNUSABLE',
        `${place} is a text and not a JSON object with fields.`,
        'Leave out the field behind #.',
      )
    }
    const all = Object.keys(fields)
    const names = field === undefined ? all.filter((name) => !isPending(name, fields)) : all
    const [name] = field === undefined ? names : names.filter((each) => each === field)
    if (name === undefined || (field === undefined && names.length > 1)) {
      const known = names.length === 0 ? 'no fields' : `the fields ${printable(names.join(', '), 200)}`
      const what = field === undefined ? 'has several fields' : `has no field ${printable(field, 100)}`
      throw fault('SECRET_FIELD_MISSING', `${place} ${what}; it has ${known}.`, hintFor(field, names))
    }
    return usable(fields[name], `The field ${printable(name, 100)} of ${inSentence(place)}`)
  }

  /**
   * The secret as a rotation that is under way will leave it: `password` has the value of `password_pending`, and so each
   * field that has one. Undefined where there is none.
   */
  pending(): StoredSecret | undefined {
    const fields = this.fields() ?? {}
    const waiting = Object.keys(fields).filter((name) => isPending(name, fields))
    if (waiting.length === 0) return undefined
    const next = waiting.map((name) => [name.slice(0, -PENDING.length), fields[name]] as const)
    const kept = Object.entries(fields).filter(([name]) => !isPending(name, fields))
    return new StoredSecret(Object.fromEntries([...kept, ...next]), this.version, this.writtenAt)
  }

  /** The fields that are texts, or can be written as texts. */
  texts(): Map<string, Secret> {
    const texts = Object.entries(this.fields() ?? {}).filter(([, value]) => isText(value))
    return new Map(texts.map(([name, value]) => [name, new Secret(String(value))]))
  }

  /**
   * The content that follows this one. A field that no text can carry (binary, an object, a list) stays, and a number
   * or a boolean whose text is the same stays one.
   *
   * @throws PoolsmithError SECRET_UNUSABLE for a text without a name
   */
  followedBy(texts: ReadonlyMap<string, Secret>): Readonly<Record<string, unknown>> {
    if (texts.has('')) {
      throw fault(
        'SECRET_UNUSABLE',
        'A secret of this store has fields, and a text without a name was given.',
        'Name a field behind #.',
      )
    }
    const before = this.fields() ?? {}
    const kept = Object.entries(before).filter(([name, value]) => !texts.has(name) && !isText(value))
    const written = [...texts].map(([name, text]) => {
      const known = Object.hasOwn(before, name) ? before[name] : undefined
      return [name, isText(known) && String(known) === text.reveal() ? known : text.reveal()] as const
    })
    return Object.fromEntries([...kept, ...written])
  }

  /** Whether another one has the same content, whatever their versions. */
  equals(other: StoredSecret | undefined): boolean {
    return other !== undefined && isDeepStrictEqual(this.#content, other.#content)
  }

  /** Whether it is bytes that are no text, and has no other field. */
  get isBinary(): boolean {
    const { content, ...others } = typeof this.#content === 'string' ? {} : this.#content
    return content instanceof Uint8Array && Object.keys(others).length === 0
  }

  /** The fields, for a whole record; undefined where it is a text that is no JSON object. */
  fields(): Readonly<Record<string, unknown>> | undefined {
    return typeof this.#content === 'string' ? objectOf(this.#content) : this.#content
  }
}

/** The suffix of the field that holds the next value of another while that is rotated. */
export const PENDING = '_pending'

function isPending(name: string, fields: Readonly<Record<string, unknown>>): boolean {
  return name.endsWith(PENDING) && Object.hasOwn(fields, name.slice(0, -PENDING.length))
}

function isText(value: unknown): value is string | number | boolean {
  return ['string', 'number', 'boolean'].includes(typeof value)
}

function hintFor(field: string | undefined, names: readonly string[]): string {
  if (names.includes(`${field}_from`)) return `Its ${field}_from is a reference itself: write that reference here.`
  return names.length === 0 ? 'Write the field into the secret.' : 'Name one of them behind #.'
}

function usable(value: unknown, place: string): Secret {
  if (typeof value === 'number' || typeof value === 'boolean') return new Secret(String(value))
  const what =
    value instanceof Uint8Array
      ? 'is binary'
      : isRecord(value) || Array.isArray(value)
        ? 'is an object or a list'
        : typeof value !== 'string' || value === ''
          ? 'is empty'
          : value.includes('\0')
            ? 'holds a NUL character'
            : undefined
  if (what === undefined) return new Secret(String(value))
  throw fault('SECRET_UNUSABLE', `${place} ${what}, and a text is needed.`, 'Check what was written to the store.')
}

function fault(code: 'SECRET_FIELD_MISSING' | 'SECRET_UNUSABLE', message: string, hint: string): PoolsmithError {
  return new PoolsmithError(message, { code, phase: 'credential', hint })
}
