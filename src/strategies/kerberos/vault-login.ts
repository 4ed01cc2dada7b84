/** The SPNEGO token by which Vault is logged in to (https://developer.hashicorp.com/vault/docs/auth/kerberos, RFC 4559). */

import { PoolsmithError } from '../../errors.ts'
import { forgetTickets, openCredential } from '../../kerberos/ensure-ticket.ts'
import type { GssTarget } from '../../kerberos/gss-api.ts'
import { loadGssApi } from '../../kerberos/load-gss-api.ts'
import { Secret } from '../../secret.ts'
import type { VaultLoginOptions } from '../vault-login.ts'
import { KDC_LIMIT_MILLIS, ticketCache } from './ticket-cache.ts'

/** @throws PoolsmithError TICKET_…, KEYTAB_…, KDC_…, SPN_UNKNOWN and the others of a ticket; the signal's reason */
export async function proveByTicket(
  options: VaultLoginOptions,
  environment: Readonly<Record<string, string | undefined>>,
  given: AbortSignal,
): Promise<Secret> {
  const { principal, keytab, ccache } = options
  const { hostname } = new URL(options.vault_addr ?? environment['VAULT_ADDR'] ?? '')
  const { vault_kerberos_service: service } = options
  const target: GssTarget = service === undefined ? { service: 'HTTP', host: hostname } : { principal: service }
  const cache = ticketCache({ keytab, ccache }, environment)
  const signal = AbortSignal.any([given, AbortSignal.timeout(KDC_LIMIT_MILLIS)])
  try {
    const gss = await loadGssApi()
    using credential = await openCredential(
      gss,
      { principal, keytab, cache: cache.name },
      { signal, mechanism: 'spnego' },
    )
    using context = gss.initContext({
      target,
      flags: ['integrity'],
      credential: credential.handle,
      mechanism: 'spnego',
    })
    const { token } = await context.step(undefined, { signal })
    // A library may have more than Kerberos to put into SPNEGO.
    if (token === undefined || token.includes('NTLMSSP')) throw new Error('The mechanism is not Kerberos.')
    return new Secret(`Negotiate ${token.toString('base64')}`)
  } catch (error) {
    given.throwIfAborted()
    if (!(error instanceof PoolsmithError)) throw error
    const message = `The Kerberos ticket for the login to Vault could not be obtained: ${error.message}`
    if (error.code !== 'SPN_UNKNOWN') throw error.with({ message, phase: 'credential' })
    const name = 'principal' in target ? target.principal : `HTTP/${hostname}`
    const hint = `\`kvno ${name}\` must work: set vault_kerberos_service to the principal whose keytab Vault has.`
    throw error.with({ message, phase: 'credential', hint })
  } finally {
    // The tickets that were obtained by the keytab are of no further use.
    if (cache.isOwn) await forgetTickets(cache.name ?? '').catch(() => undefined)
  }
}
