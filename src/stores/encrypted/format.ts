/**
 * The content of an encrypted file of secrets, version 1; docs/secrets-file.md describes it. Two lines of ASCII: the
 * name and version of the format, and in Base64
 *
 * - 16 bytes of salt: the key of this one writing is HKDF-SHA256(key, salt, the first line), RFC 5869
 * - 12 bytes of nonce
 * - JSON under AES-256-GCM, with the first line as its additional data, and the tag of 16 bytes
 * - SHA-256 of all before, the first line included: it tells damage from a wrong key
 */

import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import { type ErrorCode, PoolsmithError } from '../../errors.ts'
import { Secret } from '../../secret.ts'
import { isRecord, objectOf } from '../../vault/json.ts'

export interface Entry {
  readonly fields: ReadonlyMap<string, Secret>
  /** The revision of the file that brought this content. */
  readonly version: number
  /** ISO 8601. */
  readonly writtenAt: string
}

export interface Contents {
  /** Counts the writings. */
  readonly revision: number
  readonly entries: ReadonlyMap<string, Entry>
}

const NAME = 'poolsmith-secrets'
const VERSION = 1
const HEADER = `${NAME} ${VERSION}`
const CIPHER = 'aes-256-gcm'
export const KEY_BYTES = 32
const SALT_BYTES = 16
const NONCE_BYTES = 12
const TAG_BYTES = 16
const SUM_BYTES = 32

export function encrypt(contents: Contents, key: KeyObject): string {
  const salt = randomBytes(SALT_BYTES)
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, keyOfWriting(key, salt), nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(Buffer.from(HEADER))
  const hidden = Buffer.concat([cipher.update(toJson(contents), 'utf8'), cipher.final()])
  const body = Buffer.concat([salt, nonce, hidden, cipher.getAuthTag()])
  return `${HEADER}\n${Buffer.concat([body, sumOf(body)]).toString('base64')}\n`
}

/**
 * @param subject names the file in errors: `The file of secrets /etc/poolsmith/secrets`
 * @param keys are tried in turn
 * @throws PoolsmithError ENCRYPTED_FILE_…, ENCRYPTED_KEY_WRONG
 */
export function decrypt(text: string, keys: readonly KeyObject[], subject: string): Contents {
  const body = bodyOf(text, subject)
  const salt = body.subarray(0, SALT_BYTES)
  const nonce = body.subarray(SALT_BYTES, SALT_BYTES + NONCE_BYTES)
  const hidden = body.subarray(SALT_BYTES + NONCE_BYTES, -TAG_BYTES)
  for (const key of keys) {
    const decipher = createDecipheriv(CIPHER, keyOfWriting(key, salt), nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(Buffer.from(HEADER))
    decipher.setAuthTag(body.subarray(-TAG_BYTES))
    const plain = decipher.update(hidden)
    try {
      decipher.final()
    } catch {
      // Not this key. OpenSSL's error says no more.
      continue
    }
    const contents = fromJson(plain.toString('utf8'))
    if (contents !== undefined) return contents
    throw fault('ENCRYPTED_FILE_FOREIGN', `${subject} holds no secrets in a form that is known here.`, UPDATE)
  }
  throw fault(
    'ENCRYPTED_KEY_WRONG',
    `${subject} is encrypted with another key${keys.length > 1 ? ` than the ${keys.length} that are given` : ''}.`,
    'Give the key with which it was written. After a change of keys, give both until `poolsmith secrets rekey` has run.',
  )
}

const UPDATE = 'Update poolsmith, or check which file is named.'
const RESTORE = 'Restore the file from its last copy; a part of it cannot be read.'

/** The bytes between header and sum, undamaged. */
function bodyOf(text: string, subject: string): Buffer {
  const [header = '', line = '', ...rest] = text.split(/\r?\n/)
  const [, version] = new RegExp(`^${NAME} (\\d{1,9})$`).exec(header) ?? []
  if (text === '') throw fault('ENCRYPTED_FILE_DAMAGED', `${subject} is empty.`, RESTORE)
  if (version === undefined) {
    const hint = 'Check which file is named; `poolsmith secrets set` makes a new one.'
    throw fault('ENCRYPTED_FILE_FOREIGN', `${subject} is no encrypted file of poolsmith.`, hint)
  }
  if (Number(version) !== VERSION) {
    throw fault('ENCRYPTED_FILE_VERSION', `${subject} has version ${version}, and ${VERSION} is read here.`, UPDATE)
  }
  const bytes = Buffer.from(line, 'base64')
  const body = bytes.subarray(0, -SUM_BYTES)
  const isWhole =
    rest.join('') === '' &&
    bytes.toString('base64') === line &&
    body.length >= SALT_BYTES + NONCE_BYTES + TAG_BYTES &&
    sumOf(body).equals(bytes.subarray(-SUM_BYTES))
  if (!isWhole) throw fault('ENCRYPTED_FILE_DAMAGED', `${subject} is damaged or incomplete.`, RESTORE)
  return body
}

function keyOfWriting(key: KeyObject, salt: Buffer): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', key, salt, HEADER, KEY_BYTES)))
}

function sumOf(body: Buffer): Buffer {
  return createHash('sha256').update(HEADER).update('\n').update(body).digest()
}

function toJson({ revision, entries }: Contents): string {
  const secrets = [...entries].map(([name, { fields, version, writtenAt }]) => ({
    name,
    version,
    writtenAt,
    fields: [...fields].map(([field, value]) => [field, value.reveal()]),
  }))
  return JSON.stringify({ revision, secrets })
}

function fromJson(text: string): Contents | undefined {
  const { revision, secrets } = objectOf(text) ?? {}
  if (!Number.isSafeInteger(revision) || !Array.isArray(secrets)) return undefined
  const entries = new Map<string, Entry>()
  for (const each of secrets as readonly unknown[]) {
    const { name, version, writtenAt, fields } = isRecord(each) ? each : {}
    const isKnown = typeof name === 'string' && typeof writtenAt === 'string' && Array.isArray(fields)
    if (!isKnown || !Number.isSafeInteger(version)) return undefined
    const values = (fields as readonly (readonly [string, string])[]).map(
      ([field, value]) => [field, new Secret(value)] as const,
    )
    entries.set(name, { fields: new Map(values), version: version as number, writtenAt })
  }
  return { revision: revision as number, entries }
}

function fault(code: ErrorCode, message: string, hint: string): PoolsmithError {
  return new PoolsmithError(message, { code, phase: 'credential', hint })
}
