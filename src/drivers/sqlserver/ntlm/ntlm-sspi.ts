import { randomBytes } from 'node:crypto'
import type { NtlmCredential } from '../../../credentials/credential.ts'
import { PoolsmithError } from '../../../errors.ts'
import type { SspiProvider } from '../sspi.ts'
import { authenticateMessage, ChallengeError, channelBindingHash, negotiateMessage } from './messages.ts'

export interface NtlmLogin {
  readonly credential: NtlmCredential
  /** The name of this machine, or `workstation_id`. */
  readonly workstation: string
  /** `MSSQLSvc/db.example.com:1433` */
  readonly targetName: string
  /** The application data of the channel bindings (RFC 5929), asked for when the proof is made. */
  readonly channelBindings: () => Buffer | undefined
}

/**
 * The two tokens of a login by NTLMv2 (MS-NLMP 3.1.5).
 *
 * NTLM does not prove the server's identity; the server's certificate does, so `encrypt=false` is refused before.
 */
export function ntlmProvider({ credential, workstation, targetName, channelBindings }: NtlmLogin): SspiProvider {
  const negotiate = negotiateMessage()
  return {
    async step(challenge) {
      if (challenge === undefined) return { output: negotiate, complete: false }
      const bindings = channelBindings()
      try {
        const output = authenticateMessage({
          negotiate,
          challenge,
          user: credential.user ?? '',
          domain: credential.domain,
          password: credential.password.reveal(),
          workstation,
          targetName,
          channelBindings: bindings === undefined ? undefined : channelBindingHash(bindings),
          clientChallenge: randomBytes(8),
          now: Date.now(),
        })
        return { output, complete: true }
      } catch (error) {
        if (!(error instanceof ChallengeError)) throw error
        throw new PoolsmithError(`The server's NTLM challenge ${error.reason}. Only NTLMv2 is spoken.`, {
          code: 'NTLM_CHALLENGE_REFUSED',
          phase: 'login',
          hint: 'Check that the server is a SQL Server of a domain that allows NTLMv2 (LMCompatibilityLevel), and use kerberos where you can.',
          cause: error,
        })
      }
    },
  }
}
