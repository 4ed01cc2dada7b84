import { asksPerson, azureFields, credentialKind, SIGN_IN_GRACE_SECONDS } from './azure/fields.ts'
import { refuse } from './refuse.ts'
import { defineStrategy } from './strategy.ts'

export const azureAd = defineStrategy({
  name: 'azure_ad',
  aliases: ['entra'],
  dialects: ['postgres', 'mssql'],
  description:
    'A Microsoft Entra token by @azure/identity: default chain, service principal, managed or workload identity, or an interactive sign-in; or by a Kerberos ticket.',
  fields: azureFields,
  defaults: { sslmode: 'verify-full' },
  defaultsFor: (options) =>
    asksPerson(credentialKind(options)) ? { pool_timeout: options.sign_in_timeout + SIGN_IN_GRACE_SECONDS } : {},
  async check(connection, options, environment) {
    const { azureProblems } = await import('./azure/problems.ts')
    return azureProblems(options, environment, connection)
  },
  async credentials(connection, options, context) {
    refuse((await azureAd.check?.(connection, options, context.environment)) ?? [])
    const { tokenSource } = await import('./azure/source.ts')
    return tokenSource(connection, options, context)
  },
})
