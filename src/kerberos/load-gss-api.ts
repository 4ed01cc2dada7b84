import type { GssApi } from './gss-api.ts'

let loading: Promise<GssApi> | undefined

/**
 * The platform's GSSAPI: MIT Kerberos, or SSPI on Windows (not tested there).
 *
 * @throws PACKAGE_MISSING, GSS_LIBRARY_MISSING
 */
export function loadGssApi(): Promise<GssApi> {
  loading ??=
    process.platform === 'win32'
      ? import('./native/sspi.ts').then((module) => module.createSspi())
      : import('./native/gssapi.ts').then((module) => module.createMitGssApi())
  loading.catch(() => {
    loading = undefined
  })
  return loading
}
