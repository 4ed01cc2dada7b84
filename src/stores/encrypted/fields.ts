/** The options of references to an encrypted file of secrets. */

import { path, type ValuesOf } from '../../connections/fields.ts'

export const encryptedFields = {
  secrets_file: path({
    description: 'For `encrypted:name#field`: the encrypted file of secrets. Default: POOLSMITH_SECRETS_FILE.',
  }),
  secrets_key_file: path({
    description:
      'The file with its key. Default: POOLSMITH_SECRETS_KEY (the key itself), POOLSMITH_SECRETS_KEY_FILE or POOLSMITH_SECRETS_KEY_COMMAND.',
  }),
} as const

/** The encrypted file of secrets; undefined where none is named. */
export function secretsFileOf(
  { secrets_file: file }: Pick<ValuesOf<typeof encryptedFields>, 'secrets_file'>,
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  return file ?? (environment.POOLSMITH_SECRETS_FILE || undefined)
}
