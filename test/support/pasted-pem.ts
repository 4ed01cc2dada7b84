/** The spellings in which people paste PEM. */
export function pastedSpellings(pem: string): Readonly<Record<string, string>> {
  return {
    'as it is': pem,
    'with line ends of Windows': pem.replaceAll('\n', '\r\n'),
    'with \\n as two characters': pem.trimEnd().replaceAll('\n', '\\n'),
    'on one line': pem.replaceAll('\n', ' '),
    'in base64': Buffer.from(pem).toString('base64'),
    'in base64 with line ends': Buffer.from(pem)
      .toString('base64')
      .replaceAll(/.{1,76}/g, '$&\n'),
  }
}
