import { createRequire } from 'node:module'
import { PoolsmithError } from '../../errors.ts'

type Profiles = Readonly<Record<string, Readonly<Record<string, string | undefined>> | undefined>>

/** The settings of a profile that say which identity signs, and what each needs beside it. */
const IDENTITY: readonly (readonly [setting: string, needs: string])[] = [
  ['aws_access_key_id', 'aws_secret_access_key'],
  ['aws_secret_access_key', 'aws_access_key_id'],
  ['web_identity_token_file', 'role_arn'],
  ['role_arn', 'source_profile, credential_source or web_identity_token_file'],
  ['source_profile', 'role_arn'],
  ['credential_source', 'role_arn'],
  ['sso_account_id', 'sso_session and sso_role_name'],
  ['sso_role_name', 'sso_session and sso_account_id'],
]

/**
 * Refuses a default profile that names an identity in part. The SDK has the same words for it as for one that is absent,
 * and would go on to the machine's role.
 *
 * @throws PoolsmithError CREDENTIAL_MISSING
 */
export async function refuseIncomplete(profile: string): Promise<void> {
  const settings = (await sharedProfiles())?.[profile]
  const found = IDENTITY.find(([setting]) => settings?.[setting] !== undefined && settings[setting] !== '')
  if (found === undefined) return
  const [setting, needs] = found
  throw new PoolsmithError(`The AWS profile ${profile} sets ${setting}, but not ${needs}.`, {
    code: 'CREDENTIAL_MISSING',
    phase: 'credential',
    hint: `Set ${needs} in the profile too (~/.aws/config or ~/.aws/credentials), or remove ${setting}: no other identity is used in its place.`,
    details: { profile },
  })
}

/** The shared files, read by the SDK's own loader, which is no package of ours; undefined where it is not found. */
async function sharedProfiles(): Promise<Profiles | undefined> {
  try {
    const sdk = createRequire(createRequire(import.meta.url).resolve('@aws-sdk/credential-providers'))
    const loader: { parseKnownFiles(init: { ignoreCache: boolean }): Promise<Profiles> } = sdk('@smithy/core/config')
    return await loader.parseKnownFiles({ ignoreCache: true })
  } catch {
    // A bundle, or another version of the SDK: its own answer stands.
    return undefined
  }
}
