import { join } from 'node:path'
import type { Connection } from '../connections/connection.ts'
import { homeFolder } from '../connections/fields.ts'
import { CertificateFiles, certificatePlaces } from '../credentials/certificate-files.ts'
import type { CredentialSource } from '../credentials/credential.ts'
import { refreshingSource } from '../credentials/refreshing-source.ts'
import { Secret } from '../secret.ts'
import type { StrategyContext } from './strategy.ts'

/** How often the files are looked at while the pool is in use: two stat calls, so that it may be often. */
const RECHECK_MILLIS = 100

/** The client's certificate and key, read again when their files change. */
export function certificateSource(
  connection: Connection,
  { emit, settings }: Pick<StrategyContext, 'emit' | 'settings'>,
): CredentialSource {
  const folder = join(homeFolder(), '.postgresql')
  const stored = (option: unknown): Secret | undefined => (option instanceof Secret ? option : undefined)
  const files = new CertificateFiles({
    ...certificatePlaces(
      {
        sslcert: stored(settings.sslcert) ?? textOf(settings.sslcert),
        sslkey: stored(settings.sslkey) ?? textOf(settings.sslkey),
        sslcert_from: stored(settings.sslcert_from),
        sslkey_from: stored(settings.sslkey_from),
      },
      (name) => join(folder, name),
    ),
    passphrase: stored(settings.sslpassword),
    onExpiring: (certificate) => emit('certificate:expiring', certificate),
    onUnusable: (error) => emit('credential:failed', { error, attempt: 1, retryInMillis: RECHECK_MILLIS }),
  })
  return refreshingSource({
    emit,
    recheckMillis: RECHECK_MILLIS,
    async fetch() {
      const loaded = await files.load()
      const user = connection.login ?? commonName(loaded.subject)
      return {
        kind: 'certificate',
        identity: loaded.subject,
        user,
        certificate: loaded.certificate,
        privateKey: loaded.privateKey,
        passphrase: loaded.passphrase,
        issuedAt: Date.now(),
        expiresAt: loaded.notAfter,
      }
    },
  })
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** The server lets a certificate in as the user that its common name says (unless pg_ident.conf maps it). */
function commonName(subject: string): string | undefined {
  return /(?:^|, )CN=([^,]+)/.exec(subject)?.[1]
}
