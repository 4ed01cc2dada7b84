import { kerberosFields, kerberosProblems } from './kerberos/fields.ts'
import { refuse } from './refuse.ts'
import { defineStrategy } from './strategy.ts'

export const kerberos = defineStrategy({
  name: 'kerberos',
  aliases: ['gss', 'gssapi'],
  dialects: ['postgres', 'mssql'],
  description:
    "A Kerberos ticket: from the cache that kinit or a sidecar fills, or obtained from a keytab or by the connection's password.",
  fields: kerberosFields,
  check: kerberosProblems,
  async credentials(connection, options, context) {
    refuse(kerberosProblems(connection, options))
    const { ticketSource } = await import('./kerberos/source.ts')
    return ticketSource(connection, options, context)
  },
})
