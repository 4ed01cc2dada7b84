import { X509Certificate } from 'node:crypto'
import { inSentence, PoolsmithError } from '../errors.ts'
import { Secret } from '../secret.ts'
import type { SecretReader } from '../stores/reader.ts'
import type { StoredSecret } from '../vault/stored-secret.ts'
import type { CertificatePlace, CertificateStep } from './certificate-place.ts'
import type { IssuedPair } from './site-command.ts'
import { assertWritable, writeSecret } from './write-secret.ts'

/** A certificate and its key in two fields of one secret, which are written at once. */
export class StoredCertificate implements CertificatePlace {
  readonly name: string
  readonly #store: SecretReader
  readonly #path: string
  readonly #fields: { readonly certificate: string; readonly key: string }
  #before: StoredSecret | undefined

  constructor(store: SecretReader, path: string, fields: { readonly certificate: string; readonly key: string }) {
    this.#store = store
    this.#path = path
    this.#fields = fields
    this.name = store.placeOf(path)
  }

  async read(signal: AbortSignal): Promise<X509Certificate> {
    assertWritable(this.#store, this.#path)
    this.#before = await this.#store.read(this.#path, signal)
    const { certificate } = this.#fields
    const text = this.#before.read(certificate, this.name).reveal()
    try {
      return new X509Certificate(text)
    } catch {
      // The error of OpenSSL says less.
      throw new PoolsmithError(
        `The field ${certificate} of ${inSentence(this.name)} holds no certificate in PEM form.`,
        {
          code: 'CERTIFICATE_MALFORMED',
          phase: 'credential',
          hint: 'Put the present certificate there, or correct sslcert_from.',
        },
      )
    }
  }

  async left(): Promise<undefined> {
    return undefined
  }

  async write(
    { certificate, privateKey }: IssuedPair,
    begin: (step: CertificateStep) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    await begin('write')
    const before = this.#before
    if (before === undefined) throw new Error('The certificate was not read')
    const fields = before.texts()
    fields.set(this.#fields.certificate, new Secret(certificate))
    fields.set(this.#fields.key, privateKey)
    await writeSecret(this.#store, this.#path, fields, { replaces: before, signal })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#store.close?.()
  }
}
