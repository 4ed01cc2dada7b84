/** The configuration of tedious for one login. */

import type { ConnectionConfiguration } from 'tedious'
import type { Credential } from '../../credentials/credential.ts'
import { PoolsmithError } from '../../errors.ts'
import type { SqlServerOptions } from './options.ts'

/** The time limits are ours; tedious' own must never be the first to end. */
const NEVER_MILLIS = 0x7fff_ffff
const LONGEST_CANCEL_MILLIS = 5000

/** tedious would set those of the United States. Its types do not know null, which leaves a setting as it is. */
const LOGINS_OWN = {
  language: null,
  dateFormat: null,
  datefirst: null,
} as unknown as ConnectionConfiguration['options']

/** The parts of a session's plan that tedious needs. */
export interface LoginTarget {
  readonly host: string
  readonly login: string | undefined
  readonly database: string | undefined
  readonly options: SqlServerOptions
}

/** @throws PoolsmithError AUTH_METHOD_UNSUPPORTED */
export function configuration(plan: LoginTarget, credential: Credential, port: number): ConnectionConfiguration {
  const { options } = plan
  return {
    server: plan.host,
    authentication: authentication(plan, credential),
    options: {
      port,
      // TLS has been started on the stream before tedious gets it.
      encrypt: false,
      database: plan.database,
      appName: options.application_name,
      workstationId: options.workstation_id,
      packetSize: options.packet_size,
      readOnlyIntent: options.application_intent === 'ReadOnly',
      ...LOGINS_OWN,
      useUTC: options.use_utc,
      lowerCaseGuids: options.lower_case_guids,
      connectTimeout: NEVER_MILLIS,
      // Until the first piece of an answer; from there on silence.ts has the limit.
      requestTimeout: requestLimitMillis(options),
      cancelTimeout: cancelLimitMillis(options),
      // Retries are decided in throttling.ts and by the pool.
      maxRetriesOnTransientErrors: 0,
      useColumnNames: false,
      rowCollectionOnDone: false,
      rowCollectionOnRequestCompletion: false,
    },
  }
}

/** `request_timeout` in milliseconds; 0 for no limit. */
export function requestLimitMillis({ request_timeout: seconds }: SqlServerOptions): number {
  return Math.min(seconds * 1000, NEVER_MILLIS)
}

/** How long the server may take to confirm that it has ended a statement; then the session is closed. */
function cancelLimitMillis(options: SqlServerOptions): number {
  const limit = requestLimitMillis(options)
  return limit === 0 ? LONGEST_CANCEL_MILLIS : Math.min(limit, LONGEST_CANCEL_MILLIS)
}

function authentication(plan: LoginTarget, credential: Credential): ConnectionConfiguration['authentication'] {
  switch (credential.kind) {
    case 'password':
      return {
        type: 'default',
        options: {
          userName: credential.user ?? plan.login ?? credential.identity,
          password: credential.password.reveal(),
        },
      }
    case 'token':
      return { type: 'azure-active-directory-access-token', options: { token: credential.token.reveal() } }
    case 'ntlm':
    case 'gss':
      // The tokens are exchanged in login-exchange.ts; tedious' code for Windows logins is not used.
      return { type: 'default', options: {} }
    case 'certificate':
      throw new PoolsmithError('SQL Server takes no client certificate as a login.', {
        code: 'AUTH_METHOD_UNSUPPORTED',
        phase: 'config',
        hint: 'Use auth_method sql_auth, kerberos or azure_ad.',
      })
  }
}
