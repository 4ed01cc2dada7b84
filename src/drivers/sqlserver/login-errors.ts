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
