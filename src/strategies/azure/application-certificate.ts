/** The certificate by which an application proves itself to Entra. */

import { CertificateFiles, type LoadedCertificate } from '../../credentials/certificate-files.ts'
import { trustEvents } from '../../credentials/trust-files.ts'
import { PoolsmithError } from '../../errors.ts'
import { shownPath } from '../../plausible-path.ts'
import { Secret } from '../../secret.ts'
import { readSecretFile } from '../../vault/credential-file.ts'
import type { StrategyContext } from '../strategy.ts'
import { defaultIdentity } from './default-identity.ts'
import { type AzureOptions, credentialKind } from './fields.ts'

type Context = Pick<StrategyContext, 'emit' | 'environment'>

/**
 * Reads the file with the certificate and its key for each token; the SDK's errors would not name it. While it is
 * missing, empty or half written, as it may be for a moment while it is replaced, the last usable version is given.
 * Undefined where the identity has no certificate.
 */
export function applicationCertificate(
  options: AzureOptions,
  { emit, environment }: Context,
): (() => Promise<LoadedCertificate>) | undefined {
  const place = placeOf(options, environment)
  if (place === undefined) return undefined
  const { path, option, passphrase, passphraseOption } = place
  const use = { what: "file of the application's certificate", option, missing: 'CREDENTIAL_MISSING' } as const
  const file = { name: shownPath(path), read: () => readSecretFile(path, use) }
  const files = new CertificateFiles({ ...trustEvents(emit), certificateFile: file, keyFile: file, passphrase })
  return async () => {
    try {
      return await files.load()
    } catch (error) {
      if (!(error instanceof PoolsmithError) || !/^KEY_PASSPHRASE_/.test(error.code)) throw error
      throw error.with({ hint: `Set ${passphraseOption} to the password of the key.` })
    }
  }
}

/** The file that the options name, or that the environment names for the default identity. */
function placeOf(options: AzureOptions, environment: Context['environment']) {
  const kind = credentialKind(options)
  if (kind === 'service_principal' && options.client_certificate_path !== undefined) {
    return {
      path: options.client_certificate_path,
      option: 'client_certificate_path',
      passphrase: options.client_certificate_password,
      passphraseOption: 'client_certificate_password',
    }
  }
  const found = kind === 'default' ? defaultIdentity(options, environment) : undefined
  const { AZURE_CLIENT_CERTIFICATE_PATH: path = '', AZURE_CLIENT_CERTIFICATE_PASSWORD: password } = environment
  if (found?.kind !== 'environment' || found.proof !== 'AZURE_CLIENT_CERTIFICATE_PATH') return undefined
  return {
    path,
    option: 'AZURE_CLIENT_CERTIFICATE_PATH',
    passphrase: password ? new Secret(password) : undefined,
    passphraseOption: 'AZURE_CLIENT_CERTIFICATE_PASSWORD',
  }
}
