import { defineStrategy } from './strategy.ts'

export const sslCert = defineStrategy({
  name: 'ssl_cert',
  aliases: ['cert', 'certificate'],
  dialects: ['postgres'],
  description: 'A client certificate (sslcert, sslkey, sslpassword), read again whenever it is rotated.',
  fields: {},
  defaults: { sslmode: 'verify-full' },
  async credentials(connection, _options, context) {
    const { certificateSource } = await import('./certificate-source.ts')
    return certificateSource(connection, context)
  },
})
