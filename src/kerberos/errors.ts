import { type ErrorCode, type Phase, PoolsmithError } from '../errors.ts'
import { shownPath } from '../plausible-path.ts'
import { ADVICE } from './advice.ts'
import { factsIn, type KerberosFacts } from './facts.ts'
import { codeOf, type KerberosCall, type NativeStatus } from './status.ts'

/** The errors that may pass without any change. For all others trying again is pointless. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set(['KDC_UNREACHABLE', 'KDC_TIMEOUT', 'TICKET_CACHE_LOCKED'])

export interface KerberosErrorOptions {
  readonly phase?: Phase
  readonly status?: NativeStatus
  readonly cause?: unknown
  /** A sentence that follows the message. */
  readonly more?: string
}

/**
 * An error of Kerberos: its code and the facts give message and hint. Key material in place of the name of a cache or
 * keytab is not repeated, nor are words and causes that may repeat it.
 */
export function kerberosError(
  code: ErrorCode,
  given: KerberosFacts,
  options: KerberosErrorOptions = {},
): PoolsmithError {
  const facts = { ...given, cache: shownName(given.cache), keytab: shownName(given.keytab) }
  const areShown = facts.cache === given.cache && facts.keytab === given.keytab
  const { status, cause, more } = areShown ? options : { status: withoutWords(options.status) }
  const advice = (ADVICE[code] ?? ADVICE.GSS_FAILED)?.(facts)
  const words = status === undefined || status.text === '' ? '' : ` (${status.text})`
  const known = Object.entries(facts).filter(([, value]) => value !== undefined)
  return new PoolsmithError(`${advice?.message ?? code}${words}.${more === undefined ? '' : ` ${more}`}`, {
    code,
    phase: options.phase ?? (status === undefined ? 'credential' : phaseOf(status.call)),
    transient: TRANSIENT.has(code),
    details: {
      ...Object.fromEntries(known),
      ...(status?.major === undefined ? {} : { major: `0x${status.major.toString(16)}` }),
      ...(status === undefined ? {} : { minor: status.minor }),
    },
    ...(advice === undefined ? {} : { hint: `${advice.hint}.` }),
    cause,
  })
}

function shownName(name: string | undefined): string | undefined {
  return name === undefined ? undefined : shownPath(name)
}

function withoutWords(status: NativeStatus | undefined): NativeStatus | undefined {
  return status === undefined ? undefined : { ...status, text: '' }
}

function phaseOf(call: KerberosCall): Phase {
  return call === 'init' || call === 'reply' || call === 'message' ? 'gss' : 'credential'
}

/** The error for a native status. */
export function statusError(status: NativeStatus, facts: KerberosFacts): PoolsmithError {
  return kerberosError(codeOf(status), { ...facts, ...factsIn(status.text) }, { status })
}
