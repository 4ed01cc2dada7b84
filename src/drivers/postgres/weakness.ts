import { isError } from '../../any-error.ts'
import type { EventFacts } from '../../events.ts'
import type { GssMode } from './options.ts'
import type { Session, SessionPlan } from './session-plan.ts'
import type { Failure, Way } from './ways.ts'

type Warning = EventFacts['security:warning']

/**
 * The warnings about a session that was opened: protection that was given up, or that the mode leaves out although a
 * session without it was not asked for.
 *
 * @param failures the ways that were tried before
 */
export function weaknessesOf(
  { transport, endpoint }: Session,
  failures: readonly Failure[],
  plan: SessionPlan,
  gssMode: GssMode,
): readonly Warning[] {
  const { kind, verified } = transport.encryption
  // A Unix socket does not leave the machine, and a ticket proves the server.
  if (endpoint.kind === 'unix' || kind === 'gss') return []
  const { host, sslMode } = plan
  const warnings: Warning[] = []
  if (gssMode === 'prefer') {
    const instead = kind === 'tls' ? 'is encrypted by TLS instead' : 'is not encrypted at all'
    const reason = reasonOf('gss', failures) ?? 'The server does not offer it.'
    warnings.push({
      code: 'GSS_ENCRYPTION_GIVEN_UP',
      message: `The session with ${host} ${instead}: GSSAPI encryption was given up (gssencmode=prefer). ${reason}`,
    })
  }
  if (kind === 'none' && sslMode !== 'disable') {
    const reason =
      sslMode === 'allow'
        ? 'The server accepts sessions without TLS.'
        : (reasonOf('tls', failures) ?? 'The server does not offer TLS.')
    warnings.push({
      code: 'SESSION_NOT_ENCRYPTED',
      message: `The session with ${host} is not encrypted (${shownMode(plan)}): statements and rows can be read and changed on the way. ${reason}`,
    })
  }
  if (kind === 'tls' && verified === undefined) {
    warnings.push({
      code: 'SERVER_NOT_VERIFIED',
      message: `The certificate of ${host} is not verified (${shownMode(plan)} without sslrootcert), so that another server can take its place. Set sslmode=verify-full and sslrootcert.`,
    })
  }
  return warnings
}

function reasonOf(way: Way, failures: readonly Failure[]): string | undefined {
  const { error } = failures.find((failure) => failure.way === way) ?? {}
  return isError(error) ? error.message : undefined
}

function shownMode({ sslMode, options }: SessionPlan): string {
  return `sslmode=${sslMode}${options.sslmode === undefined && options.ssl !== true ? ', the default' : ''}`
}
