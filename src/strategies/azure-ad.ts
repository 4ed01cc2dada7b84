import { refreshingSource } from '../credentials/refreshing-source.ts'
import { loadPackage } from '../optional-package.ts'
import { Secret } from '../secret.ts'
import { subjectOf } from './azure/claims.ts'
import { scopeOf } from './azure/cloud.ts'
import { type AuthorityObservation, azureFailure } from './azure/failure.ts'
import { azureFields, azureProblems } from './azure/fields.ts'
import { fetchAzureToken } from './azure/token.ts'
import { refuse } from './refuse.ts'
import { settled } from './settled.ts'
import { defineStrategy } from './strategy.ts'

export const azureAd = defineStrategy({
  name: 'azure_ad',
  aliases: ['entra'],
  dialects: ['postgres', 'mssql'],
  description:
    'A Microsoft Entra token by @azure/identity: default chain, service principal, managed identity or workload identity.',
  fields: azureFields,
  defaults: { sslmode: 'verify-full' },
  check: (_connection, options, environment) => azureProblems(options, environment),
  async credentials(connection, options, { emit, environment, agents }) {
    refuse(azureProblems(options, environment))
    const identity = await loadPackage('@azure/identity', () => import('@azure/identity'), 'auth_method=azure_ad')
    const scope = options.scope ?? scopeOf(options.cloud, connection.type)
    const secrets = [options.client_secret, options.client_certificate_password]
    return refreshingSource({
      emit,
      fetch: settled(async (signal) => {
        const observation: AuthorityObservation = {}
        try {
          const { token, expiresOnTimestamp } = await fetchAzureToken(
            identity,
            options,
            scope,
            signal,
            observation,
            agents,
          )
          return {
            kind: 'token',
            identity: subjectOf(token) ?? options.client_id ?? connection.login ?? 'unknown',
            ...(connection.login === undefined ? {} : { user: connection.login }),
            token: new Secret(token),
            issuedAt: Date.now(),
            expiresAt: expiresOnTimestamp,
          }
        } catch (error) {
          throw azureFailure(error, observation, secrets)
        }
      }),
    })
  },
})
