import type { AccessToken, TokenCredential } from '@azure/identity'
import { PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { supervise } from '../supervise.ts'
import { chooseCredential, type TokenContext } from './choose-credential.ts'
import { applicationOf } from './claims.ts'
import type { AzureOptions } from './fields.ts'
import { type Attempt, type Identity, pipeline, requestLimitMillis } from './pipeline.ts'

/**
 * One token, by a credential object made for it alone: MSAL keeps tokens in the object, and returns the same one until
 * shortly before it expires, which helps neither a renewal nor a login after a refusal.
 */
export async function fetchAzureToken(
  identity: Identity,
  options: AzureOptions,
  scope: string,
  attempt: Attempt,
  context: TokenContext,
): Promise<AccessToken> {
  const supervision = { ...attempt, requestLimitMillis: requestLimitMillis(options) }
  const chosen = chooseCredential(identity, options, context, pipeline(options, context.agents))
  const token = await supervise(supervision, () => tokenOf(chosen.credential, scope, attempt.signal))
  assertIssuedTo(chosen.clientId, token.token)
  return token
}

/** Some platforms (Service Fabric, a metadata proxy) return their own identity's token for any client id that is requested. */
function assertIssuedTo(clientId: string | undefined, token: string): void {
  const application = applicationOf(token)
  if (clientId === undefined || application === undefined) return
  if (application.toLowerCase() === clientId.toLowerCase()) return
  throw new PoolsmithError(
    `The token was issued to the application ${printable(application, 100)}, not to ${clientId}.`,
    {
      code: 'CREDENTIAL_FAILED',
      phase: 'credential',
      hint: 'Check that the identity is assigned to this machine, and find out which service answers as the metadata service here.',
      details: { clientId },
    },
  )
}

export async function tokenOf(credential: TokenCredential, scope: string, signal: AbortSignal): Promise<AccessToken> {
  const token = await credential.getToken(scope, { abortSignal: signal })
  if (token === null) throw new Error('no token was given')
  return token
}
