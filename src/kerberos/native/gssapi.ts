import { PoolsmithError } from '../../errors.ts'
import { realmIn } from '../facts.ts'
import type { AcquireCredentialOptions, GssApi } from '../gss-api.ts'
import { usesGssproxy } from '../gssproxy.ts'
import { openKrb5 } from '../kcm-daemon.ts'
import { askKdc } from '../kdc/ask.ts'
import type { NativeGss } from './gssapi-calls.ts'
import { MitContext } from './gssapi-context.ts'
import { acquireHere, type MitCredential } from './gssapi-credential.ts'
import { loadNativeGss } from './gssapi-load.ts'
import type { Krb5 } from './krb5.ts'

/** GSSAPI by MIT Kerberos. No pointer leaves this folder. */
export async function createMitGssApi(): Promise<GssApi> {
  const native = await loadNativeGss()
  return {
    provider: 'mit',
    acquireCredential: (options = {}) => acquireCredential(native, options),
    initContext: (options) => new MitContext(native, options),
  }
}

async function acquireCredential(native: NativeGss, options: AcquireCredentialOptions): Promise<MitCredential> {
  const { principal, cache } = options
  if (cache === undefined) await fillDefault(native, options)
  const info = { purpose: `the credential of ${principal ?? 'the default principal'}`, realm: '', local: true }
  const facts = { principal, cache }
  return native.queued(
    info,
    facts,
    options,
    () => acquireHere(native, options),
    (late) => late[Symbol.dispose](),
  )
}

/**
 * Where there is a default client keytab, krb5 fills its default cache from it, and asks the KDC; gssproxy does so from
 * its own.
 */
async function fillDefault(
  native: NativeGss,
  { principal, mechanism, signal }: AcquireCredentialOptions,
): Promise<void> {
  using krb5 = await openKrb5(undefined)
  krb5.assertCanBeRead({ principal })
  if (!hasClientKeytab(krb5) && !usesGssproxy()) return
  const info = { purpose: 'a ticket by the default client keytab', realm: realmIn(principal) ?? '' }
  await native.queued(info, { principal }, { signal }, () => askKdc('acquire', { principal, mechanism }))
}

function hasClientKeytab(krb5: Krb5): boolean {
  try {
    return krb5.keytab(krb5.defaultKeytabs().client).length > 0
  } catch (error) {
    if (error instanceof PoolsmithError) return false
    throw error
  }
}
