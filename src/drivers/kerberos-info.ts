import type { GssContextInfo } from '../kerberos/gss-api.ts'
import type { KerberosInfo } from './driver.ts'

/** Both ends of a complete security context. */
export function peersOf({ initiator, target, flags }: GssContextInfo): KerberosInfo {
  return { principal: initiator, server: target, delegated: flags.includes('delegate') }
}
