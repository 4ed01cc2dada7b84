import { isAggregate, isError } from '../any-error.ts'
import { ERROR_CODES, type ErrorCode } from '../error-codes.ts'
import { PoolsmithError } from '../errors.ts'
import { redact, type Secret } from '../secret.ts'

/** Faults of the network below HTTP: the same call may succeed a moment later. */
const NETWORK_CODES = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ESOCKETTIMEDOUT',
  'ETIMEDOUT',
  'REQUEST_SEND_ERROR',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_SOCKET',
])

/** Faults of a file that is named as the proof of an identity. */
const FILE_CODES = new Set(['EACCES', 'EISDIR', 'ENOENT', 'ENOTDIR', 'EPERM'])

/** The facts about its cause that an error of any HTTP library or SDK contains. */
export interface Fault {
  readonly kind: 'network' | 'throttled' | 'server' | 'refused' | 'file' | 'other'
  /** HTTP status, where one was seen. */
  readonly status?: number
  /** Node's or the library's error code, where it is a fault of the network. */
  readonly code?: string
}

/** Looks along an error's causes (and an AggregateError's parts) for what went wrong underneath. */
export function faultOf(error: unknown): Fault {
  for (const each of chain(error)) {
    const code = property(each, 'code')
    if (typeof code === 'string' && NETWORK_CODES.has(code)) return { kind: 'network', code }
    if (typeof code === 'string' && FILE_CODES.has(code) && isOfFile(each)) return { kind: 'file' }
    const status = statusOf(each)
    if (status === undefined) continue
    if (status === 429) return { kind: 'throttled', status }
    if (status === 408 || status >= 500) return { kind: 'server', status }
    if (status >= 400) return { kind: 'refused', status }
  }
  return { kind: 'other' }
}

export function isTransient(fault: Fault): boolean {
  return fault.kind === 'network' || fault.kind === 'throttled' || fault.kind === 'server'
}

export interface CredentialFailureOptions {
  readonly code?: ErrorCode | undefined
  readonly hint?: string
  readonly transient?: boolean
  /** Values to blot out of the foreign message. */
  readonly secrets?: Iterable<Secret | undefined>
  readonly details?: Readonly<Record<string, unknown>>
}

/**
 * Turns whatever a fetch threw into a `PoolsmithError` of phase `credential`, and says whether to try again.
 * The foreign error is not kept as the cause: SDK errors carry requests, and those carry secrets. Its name and its
 * message, with the known secrets blotted out, are.
 *
 * @param subject begins the message: `The AWS token could not be made`
 */
export function credentialFailure(
  subject: string,
  error: unknown,
  options: CredentialFailureOptions = {},
): PoolsmithError {
  if (error instanceof PoolsmithError) return error
  const fault = faultOf(error)
  const transient = options.transient ?? isTransient(fault)
  const code = options.code ?? codeFor(fault)
  const hint = options.hint ?? hintFor(fault)
  const message = redact(messageOf(error), options.secrets ?? [])
  return new PoolsmithError(`${subject}: ${message}`, {
    code,
    phase: 'credential',
    transient,
    ...(hint === undefined ? {} : { hint }),
    details: {
      ...(fault.status === undefined ? {} : { status: fault.status }),
      ...(fault.code === undefined ? {} : { network: fault.code }),
      ...options.details,
    },
    cause: plainCopy(error, message),
  })
}

/** The transient ones among the errors of our own agents on the way through a proxy. */
const TRANSIENT_ON_THE_WAY: ReadonlySet<ErrorCode> = new Set([
  'CONNECT_TIMEOUT',
  'KDC_TIMEOUT',
  'KDC_UNREACHABLE',
  'PROXY_CLOSED',
  'PROXY_TARGET_UNREACHABLE',
  'PROXY_UNREACHABLE',
])

/**
 * The error of the proxy that a request was to go through, where that is what it failed by. Our agents throw it, but
 * an SDK may leave no more of it than its code and its words.
 */
export function proxyFailure(subject: string, error: unknown): PoolsmithError | undefined {
  for (const each of chain(error)) {
    if (each instanceof PoolsmithError) return each
    const code = property(each, 'code')
    if (typeof code !== 'string' || !Object.hasOwn(ERROR_CODES, code)) continue
    return new PoolsmithError(`${subject}: ${messageOf(each)}`, {
      code: code as ErrorCode,
      phase: 'proxy',
      transient: TRANSIENT_ON_THE_WAY.has(code as ErrorCode),
      hint: 'Check `proxy` and `proxy_auth`, or name the host in `no_proxy` to reach it directly.',
    })
  }
  return undefined
}

function codeFor({ kind }: Fault): ErrorCode {
  if (kind === 'refused') return 'CREDENTIAL_REFUSED'
  return kind === 'file' ? 'CREDENTIAL_MISSING' : 'CREDENTIAL_FAILED'
}

function hintFor(fault: Fault): string | undefined {
  switch (fault.kind) {
    case 'network':
      return 'Check that the issuer of the credential can be reached from here (DNS, firewall, proxy).'
    case 'throttled':
      return 'The issuer asks for fewer requests; it is asked again more slowly.'
    case 'server':
      return "The fault is on the issuer's side; it is asked again."
    case 'file':
      return 'Check that the file exists and that this process may read it.'
    default:
      return undefined
  }
}

/** The first line of the innermost useful message: SDK messages end in request dumps and advice pages long. */
export function messageOf(error: unknown): string {
  if (isAggregate(error) && error.message === '' && error.errors.length > 0) {
    return messageOf(error.errors[0])
  }
  const text = isError(error) ? error.message || error.name : String(error)
  const [line = ''] = text.split('\n', 1)
  return line.length > 500 ? `${line.slice(0, 497)}...` : line
}

function plainCopy(error: unknown, message: string): Error {
  const copy = new Error(message)
  if (isError(error)) copy.name = error.name
  copy.stack = `${copy.name}: ${message}`
  return copy
}

function* chain(error: unknown, depth = 0): Generator<object> {
  if (typeof error !== 'object' || error === null || depth > 8) return
  yield error
  const parts = property(error, 'errors')
  if (Array.isArray(parts)) for (const part of parts) yield* chain(part, depth + 1)
  yield* chain(property(error, 'cause'), depth + 1)
}

/** Not of a program that could not be started, nor of a socket. */
function isOfFile(error: object): boolean {
  return (
    typeof property(error, 'path') === 'string' && ['open', 'read', 'stat'].includes(String(property(error, 'syscall')))
  )
}

function statusOf(error: object): number | undefined {
  const metadata = property(error, '$metadata')
  const candidates = [
    property(error, 'statusCode'),
    property(error, 'status'),
    typeof metadata === 'object' && metadata !== null ? property(metadata, 'httpStatusCode') : undefined,
  ]
  return candidates.find((value): value is number => typeof value === 'number' && value >= 400 && value < 600)
}

function property(value: object, name: string): unknown {
  return name in value ? (value as Record<string, unknown>)[name] : undefined
}
