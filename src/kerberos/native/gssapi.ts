import type { GssApi } from '../gss-api.ts'
import { NativeGss } from './gssapi-calls.ts'
import { MitContext } from './gssapi-context.ts'
import { acquireCredential } from './gssapi-credential.ts'
import { gssFunctions } from './gssapi-functions.ts'
import { krb5Functions } from './krb5-functions.ts'
import { loadKerberosLibraries } from './load.ts'

/** GSSAPI by MIT Kerberos. No pointer leaves this folder. */
export async function createMitGssApi(): Promise<GssApi> {
  const libraries = await loadKerberosLibraries()
  const native = new NativeGss(libraries.koffi, gssFunctions(libraries), krb5Functions(libraries))
  return {
    provider: 'mit',
    acquireCredential: (options = {}) => acquireCredential(native, options),
    initContext: (options) => new MitContext(native, options),
  }
}
