import { PoolsmithError } from '../../errors.ts'
import type { GssApi } from '../gss-api.ts'

export async function createSspi(): Promise<GssApi> {
  throw new PoolsmithError('Kerberos through SSPI is not there yet.', { code: 'GSS_LIBRARY_MISSING', phase: 'config' })
}
