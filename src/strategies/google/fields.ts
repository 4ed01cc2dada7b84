/** The options of Google Secret Manager, and of a login to Vault by an identity of Google. */

import { list, path, secret, text, type ValuesOf } from '../../connections/fields.ts'
import type { ConfigProblem } from '../../errors.ts'
import { credentialTimeout } from '../credential-timeout.ts'

export const googleFields = {
  google_credentials_file: path({
    description:
      'For `gcp-sm:` and `vault_auth=gcp`: a JSON file with a service account key, a workload identity federation, an impersonation or the login of a person. Default: GOOGLE_APPLICATION_CREDENTIALS, then the application default credentials: those of gcloud, then the service account of the machine.',
  }),
  google_credentials: secret({
    description: 'The content of such a file, in place of `google_credentials_file`.',
  }),
  google_scopes: list({
    pattern: {
      matches: /^https:\/\/[\w./-]{1,200}$/,
      expected: 'scopes such as https://www.googleapis.com/auth/cloud-platform',
    },
    description: 'The OAuth scopes of its tokens. Default: `https://www.googleapis.com/auth/cloud-platform`.',
  }),
  google_impersonate: list({
    pattern: { matches: /^[\w.@:-]{1,256}$/, expected: 'the email addresses of service accounts' },
    description:
      'For `gcp-sm:` and `vault_auth=gcp`: the service account whose token is used, after those that delegate to it, if any (the last one is the target).',
  }),
  google_endpoint_url: text({
    description:
      'For `gcp-sm:`: the address of Secret Manager, such as one for Private Service Connect. Default: the public one, of the location where the secret names one.',
  }),
} as const

/** Shared with strategies. */
export const googleLoginFields = { credential_timeout: credentialTimeout } as const

export type GoogleOptions = ValuesOf<typeof googleFields & typeof googleLoginFields>

/** The contradictions between the options of a login. */
export function googleLoginProblems(options: Partial<GoogleOptions>): ConfigProblem[] {
  if (options.google_credentials === undefined || options.google_credentials_file === undefined) return []
  return [{ path: 'extra.google_credentials', message: 'google_credentials_file is set too; keep one of them' }]
}
