import { type ErrorCode, type Phase, PoolsmithError } from '../errors.ts'
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

/** An error of Kerberos: its code and the facts give message and hint. */
export function kerberosError(
  code: ErrorCode,
  facts: KerberosFacts,
  options: KerberosErrorOptions = {},
): PoolsmithError {
  const { status, cause, more } = options
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

function phaseOf(call: KerberosCall): Phase {
  return call === 'init' || call === 'reply' || call === 'message' ? 'gss' : 'credential'
}

/** The error for a native status. */
export function statusError(status: NativeStatus, facts: KerberosFacts): PoolsmithError {
  return kerberosError(codeOf(status), { ...facts, ...factsIn(status.text) }, { status })
}
