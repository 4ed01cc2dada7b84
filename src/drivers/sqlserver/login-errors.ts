/** Errors that end a login although the server would accept it. */

import { PoolsmithError } from '../../errors.ts'

export function notOffered(encrypt: 'true' | 'false'): PoolsmithError {
  return encrypt === 'true'
    ? new PoolsmithError('The server does not offer encryption, and encrypt=true.', {
        code: 'TLS_NOT_OFFERED',
        phase: 'tls',
        hint: 'Give the server a certificate; encrypt=false sends everything but the login in the clear.',
      })
    : new PoolsmithError('The server does not offer encryption, so that its certificate cannot be verified.', {
        code: 'TLS_NOT_OFFERED',
        phase: 'tls',
        hint: 'Give the server a certificate, or remove ca_file, server_certificate and host_name_in_certificate.',
      })
}

export function passwordExposed(): PoolsmithError {
  return new PoolsmithError(
    'The server does not offer encryption, not even for the login: the password would be readable on the way.',
    {
      code: 'CLEARTEXT_REFUSED',
      phase: 'login',
      hint: 'Every SQL Server since 2005 can encrypt the login; look for what is in between, or use Kerberos.',
    },
  )
}

/** A GSS library can have more than Kerberos to put into SPNEGO, by a plugin such as gss-ntlmssp. */
export function kerberosAlone<Step extends { readonly output?: Buffer }>(step: Step): Step {
  if (step.output?.includes('NTLMSSP') !== true) return step
  throw new PoolsmithError('The GSS library of this machine was about to log in by NTLM in place of Kerberos.', {
    code: 'NTLM_REFUSED',
    phase: 'gss',
    hint: 'Set gss_mechanism=krb5, or take the NTLM plugin out of /etc/gss/mech.d.',
  })
}

/** The names of the versions that a server may acknowledge (LOGINACK, MS-TDS 2.2.7.14), by their numbers. */
const VERSIONS: Readonly<Record<number, string>> = {
  117440512: '7.0',
  1879048192: '7.0',
  117506048: '7.1',
  1895825408: '7.1',
  1895825409: '7.1',
  1913192450: '7.2',
  1930035203: '7.3 (A)',
  1930100739: '7.3 (B)',
  1946157060: '7.4',
  134217728: '8.0',
}

/** Since 7.2 the tokens are those that we read. A server may choose an older version than the 7.4 that we ask for. */
const READABLE: ReadonlySet<number> = new Set([0x7209_0002, 0x730a_0003, 0x730b_0003, 0x7400_0004])
const TDS_8 = 0x0800_0000

/**
 * @param acknowledged the version in LOGINACK
 * @throws PoolsmithError TDS_VERSION for one that we did not ask for or cannot read
 */
export function assertVersion(acknowledged: number, host: string, isStrict: boolean): void {
  if (READABLE.has(acknowledged) || (isStrict && acknowledged === TDS_8)) return
  const hex = `0x${acknowledged.toString(16).padStart(8, '0')}`
  const name = VERSIONS[acknowledged]
  const version = name === undefined ? `an unknown version (${hex})` : `TDS ${name} (${hex})`
  throw new PoolsmithError(`${host} accepts the login in ${version}, and TDS 7.2 to 7.4 are spoken.`, {
    code: 'TDS_VERSION',
    phase: 'login',
    hint:
      'Connect to SQL Server 2005 or later. If a proxy or a program that imitates SQL Server answers there, set it to TDS 7.4' +
      (acknowledged === TDS_8 ? '; for TDS 8.0 set encrypt=strict.' : '.'),
    details: { host, version: name ?? hex },
  })
}

export function unproven(): PoolsmithError {
  return new PoolsmithError(
    'The server accepted the login before it was complete: it has not proved that it is the right server.',
    {
      code: 'SERVER_NOT_GENUINE',
      phase: 'gss',
      hint: 'Mutual authentication was asked for and not given; do not trust this server.',
    },
  )
}

/** The bytes come from an attacker on the way, or from a server that breaks the protocol. */
export function stuffed(host: string): PoolsmithError {
  return new PoolsmithError(`Unencrypted bytes came from ${host} where only encrypted ones may come.`, {
    code: 'TLS_STUFFED',
    phase: 'tls',
    hint: 'Another machine on the way may be inserting commands; do not connect over this network.',
    details: { host },
  })
}
