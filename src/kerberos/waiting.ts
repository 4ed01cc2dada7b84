import { isError } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import type { CallInfo, QueueState } from './call-queue.ts'
import { kerberosError } from './errors.ts'
import type { KerberosFacts } from './facts.ts'

const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

/** The longest interval that a timer of Node takes. */
const LONGEST_MILLIS = 2 ** 31 - 1

/** Keeps the process alive until it is disposed of: the process that asks the KDC does not, so that it can be left. */
export function stayAlive(): Disposable {
  const timer = setInterval(() => undefined, LONGEST_MILLIS)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/**
 * The error of a caller that stopped waiting for a KDC. A time limit (a reason named `TimeoutError`, as
 * `AbortSignal.timeout` gives) is KDC_TIMEOUT; a PoolsmithError is passed on; any other reason is ABORTED.
 */
export function gaveUp(signal: AbortSignal, state: QueueState, info: CallInfo, facts: KerberosFacts): PoolsmithError {
  const reason: unknown = signal.reason
  // When the limit of a connect ends here, the KDC has been slow, and not the server.
  const connecting = reason instanceof PoolsmithError && reason.code === 'CONNECT_TIMEOUT'
  if (reason instanceof PoolsmithError && !connecting) return reason
  if (connecting || (isError(reason) && reason.name === 'TimeoutError')) {
    const waited = seconds(state.waitedMillis)
    const others = state.ahead
      .map(
        (call) => `${call.purpose}${call.realm === '' ? '' : ` (${call.realm})`} since ${seconds(call.runningMillis)}`,
      )
      .join(', ')
    return kerberosError('KDC_TIMEOUT', facts, {
      phase: facts.spn === undefined ? 'credential' : 'gss',
      cause: reason,
      more: state.running
        ? `We waited ${waited} for ${info.purpose}.`
        : `We waited ${waited} for our turn to ask for ${info.purpose}: still without an answer are ${others || 'earlier calls'}.`,
    })
  }
  return new PoolsmithError(`Waiting for ${info.purpose} was aborted.`, {
    code: 'ABORTED',
    phase: 'credential',
    cause: reason,
  })
}
