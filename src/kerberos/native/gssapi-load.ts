import { NativeGss } from './gssapi-calls.ts'
import { gssFunctions } from './gssapi-functions.ts'
import { loadKrb5Functions } from './krb5.ts'
import { loadKerberosLibraries } from './load.ts'

let loading: Promise<NativeGss> | undefined

/** @throws PACKAGE_MISSING, GSS_LIBRARY_MISSING */
export function loadNativeGss(): Promise<NativeGss> {
  loading ??= (async () => {
    const libraries = await loadKerberosLibraries()
    return new NativeGss(libraries.koffi, gssFunctions(libraries), await loadKrb5Functions())
  })()
  loading.catch(() => {
    loading = undefined
  })
  return loading
}
