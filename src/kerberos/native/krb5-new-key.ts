import { elements, fieldOf } from '../../der.ts'
import { kerberosError } from '../errors.ts'
import type { KerberosFacts } from '../facts.ts'
import type { KeyFunctions } from './krb5-key-functions.ts'
import type { Operation } from './krb5-operation.ts'
import { callAsync, type Out, type Pointer } from './load.ts'

/** The service that changes passwords, of the principal's realm (RFC 3244). */
const CHANGE_SERVICE = Buffer.from('kadmin/changepw\0')
/** KDC_ERR_ETYPE_NOSUPP */
const TYPE_UNSUPPORTED = -1765328370
/** Error codes that the KDC itself sent (RFC 4120 7.5.9), as krb5 numbers them. */
const FROM_KDC = { first: -1765328383, last: -1765328257 } as const

export interface KeyChange {
  /** In full. */
  readonly principal: string
  /** The keytab with the present key. */
  readonly keytab: string
  /** The new password, in UTF-8 and with a NUL behind it. */
  readonly next: Uint8Array
}

/** The answer to a change (RFC 3244 2): 0 success, 4 a policy, 5 no right. */
export interface KeyChangeAnswer {
  readonly result: number
  /** The words of the KDC. */
  readonly words: string
}

export interface NewKeys {
  /** Undefined where the KDC issues no ticket for the principal as a service, and so does not tell. */
  readonly kvno: number | undefined
  readonly keys: readonly { readonly type: number; readonly key: Uint8Array }[]
}

/** Sets a new password by the present key. Asks the KDC for a ticket, and then its password service. */
export async function changeKey(
  operation: Operation,
  keys: KeyFunctions,
  { principal, keytab, next }: KeyChange,
): Promise<KeyChangeAnswer> {
  const { functions, context } = operation
  const facts = { principal, keytab }
  const client = operation.principal(principal, facts)
  const creds = Buffer.alloc(functions.sizes.creds)
  const from = operation.keytab(keytab, facts)
  const request = options(operation, facts)
  const call = functions.getInitCredsKeytab
  operation.check('obtain', await callAsync(call, context, creds, client, from, 0, CHANGE_SERVICE, request), facts)
  operation.defer(() => functions.freeCredContents(context, creds))
  const result: Out<number> = [0]
  const [code, words] = [Buffer.alloc(keys.sizes.data), Buffer.alloc(keys.sizes.data)]
  operation.defer(() => {
    for (const one of [code, words]) keys.freeData(context, one)
  })
  const status = await callAsync(keys.changePassword, context, creds, next, result, code, words)
  operation.check('change-key', status, facts)
  return { result: result[0], words: wordsOf(operation, keys, [code, words]) }
}

function wordsOf(operation: Operation, keys: KeyFunctions, [code, words]: readonly [Buffer, Buffer]): string {
  const { functions, context } = operation
  const kind = keys.readData(code).toString()
  const message: Out<Pointer | null> = [null]
  if (keys.changeMessage(context, words, message) !== 0 || message[0] === null) return kind
  const text = functions.text(message[0])
  keys.freeString(context, message[0])
  return `${kind}: ${text}`
}

/**
 * The keys that the KDC has derived from a password, with the salts that it tells, of all types that are permitted here
 * and that it has.
 *
 * @param password in UTF-8, with a NUL behind it
 */
export async function keysOf(
  operation: Operation,
  keys: KeyFunctions,
  { principal, password }: { readonly principal: string; readonly password: Uint8Array },
): Promise<NewKeys> {
  const { context } = operation
  const facts = { principal }
  const client = operation.principal(principal, facts)
  const derived: { type: number; key: Uint8Array }[] = []
  for (const type of operation.permittedTypeNumbers()) {
    const told = await saltOf(operation, keys, client, type, facts)
    if (told === undefined) continue
    const text = dataOf(password.subarray(0, -1))
    const key = Buffer.alloc(keys.sizes.key)
    const parameters = told.parameters.length === 0 ? null : dataOf(told.parameters)
    const code = keys.stringToKey(context, type, text, dataOf(told.salt), parameters, key)
    operation.check('change-key', code, facts)
    derived.push({ type, key: keys.readKey(key) })
    keys.freeKey(context, key)
  }
  if (derived.length === 0) throw kerberosError('ENCRYPTION_TYPE_REFUSED', facts)
  return { kvno: await versionOf(operation, keys, client, { principal, password }), keys: derived }
}

function dataOf(bytes: Uint8Array) {
  return { magic: 0, length: bytes.length, data: bytes.length === 0 ? null : bytes }
}

/** Undefined where the KDC has no key of this type for the principal. */
async function saltOf(
  operation: Operation,
  keys: KeyFunctions,
  client: Pointer,
  type: number,
  facts: KerberosFacts,
): Promise<{ readonly salt: Buffer; readonly parameters: Buffer } | undefined> {
  const { context } = operation
  const request = options(operation, facts)
  const list = keys.numbers([type])
  const [salt, parameters] = [Buffer.alloc(keys.sizes.data), Buffer.alloc(keys.sizes.data)]
  try {
    keys.optSetEtypeList(request, list.pointer, 1)
    const told: Out<number> = [0]
    const code = await callAsync(keys.getEtypeInfo, context, client, request, told, salt, parameters)
    if (code === TYPE_UNSUPPORTED) return undefined
    operation.check('sign-in', code, facts)
    return told[0] === type ? { salt: keys.readData(salt), parameters: keys.readData(parameters) } : undefined
  } finally {
    for (const one of [salt, parameters]) keys.freeData(context, one)
    list.release()
  }
}

/** The key's version: of the ticket for the principal itself, which is encrypted with its newest key. */
async function versionOf(
  operation: Operation,
  keys: KeyFunctions,
  client: Pointer,
  { principal, password }: { readonly principal: string; readonly password: Uint8Array },
): Promise<number | undefined> {
  const { functions, context } = operation
  const facts = { principal }
  const creds = Buffer.alloc(functions.sizes.creds)
  const service = Buffer.from(`${principal}\0`)
  const request = options(operation, facts)
  const call = functions.getInitCredsPassword
  const code = await callAsync(call, context, creds, client, password, null, null, 0, service, request)
  if (code >= FROM_KDC.first && code <= FROM_KDC.last) return undefined
  operation.check('sign-in', code, facts)
  operation.defer(() => functions.freeCredContents(context, creds))
  const { ticket } = functions.decodeCreds(creds)
  return versionIn(keys.bytes(ticket.data, ticket.length))
}

/** RFC 4120 5.3: `Ticket ::= [APPLICATION 1] SEQUENCE { …, enc-part [3] EncryptedData }`, `kvno [1]` in that. */
function versionIn(ticket: Buffer): number | undefined {
  const inner = (bytes: Buffer | undefined) => (bytes === undefined ? [] : elements(bytes))
  try {
    const [sequence] = inner(inner(ticket)[0]?.content)
    const encrypted = fieldOf(inner(sequence?.content), 3)
    const kvno = fieldOf(inner(encrypted?.content), 1)?.content
    return kvno === undefined || kvno.length === 0 || kvno.length > 5 ? undefined : kvno.readUIntBE(0, kvno.length)
  } catch (error) {
    // The KDC has sent something else: the version is not known.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function options(operation: Operation, facts: KerberosFacts): Pointer {
  const { functions, context } = operation
  const request = operation.make('obtain', facts, (out) => functions.optAlloc(context, out))
  operation.defer(() => functions.optFree(context, request))
  return request
}
