/** The options of Google Secret Manager. */

import { list, path, text, type ValuesOf } from '../../connections/fields.ts'
import { credentialTimeout } from '../../strategies/credential-timeout.ts'

export const googleFields = {
  google_credentials_file: path({
    description:
      'For `gcp-sm:`: a JSON file with a service account key, a workload identity federation, an impersonation or the login of a person. Default: GOOGLE_APPLICATION_CREDENTIALS, then the application default credentials: those of gcloud, then the service account of the machine.',
  }),
  google_impersonate: list({
    pattern: { matches: /^[\w.@:-]{1,256}$/, expected: 'the email addresses of service accounts' },
    description:
      'For `gcp-sm:`: the service account whose token is used, after those that delegate to it, if any (the last one is the target).',
  }),
  google_endpoint_url: text({
    description:
      'For `gcp-sm:`: the address of Secret Manager, such as one for Private Service Connect. Default: the public one, of the location where the secret names one.',
  }),
} as const

/** Shared with strategies. */
export const googleLoginFields = { credential_timeout: credentialTimeout } as const

export type GoogleOptions = ValuesOf<typeof googleFields & typeof googleLoginFields>
