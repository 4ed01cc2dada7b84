import { AwsRefusal } from './signature.ts'

type Input = Readonly<Record<string, unknown>>

interface Version {
  readonly text: string
  readonly labels: Set<string>
}

/** The parameters of Systems Manager's Parameter Store, by its API reference. */
export class Parameters {
  readonly #parameters = new Map<string, Version[]>()

  put(name: string, text: string, labels: readonly string[] = []): number {
    const versions = this.#parameters.get(name) ?? []
    versions.push({ text, labels: new Set(labels) })
    this.#parameters.set(name, versions)
    return versions.length
  }

  answer(action: string, input: Input): Readonly<Record<string, unknown>> {
    switch (action) {
      case 'GetParameter':
        return this.#get(input)
      case 'PutParameter':
        return this.#put(input)
      default:
        throw new AwsRefusal('InvalidAction', `${action} is not known here.`)
    }
  }

  #get({ Name, WithDecryption: isPlain }: Input): Readonly<Record<string, unknown>> {
    const [name = '', selector] = String(Name)
      .replace(/^arn:aws:ssm:[^:]*:[^:]*:parameter/, '')
      .split(':')
    const versions = this.#parameters.get(name)
    if (versions === undefined) throw new AwsRefusal('ParameterNotFound', `Parameter ${name} not found.`)
    const index =
      selector === undefined
        ? versions.length - 1
        : /^\d+$/.test(selector)
          ? Number(selector) - 1
          : versions.findIndex(({ labels }) => labels.has(selector))
    const version = versions[index]
    if (version === undefined) {
      const message = `Systems Manager could not find version ${selector} of ${name}. Verify the version and try again.`
      throw new AwsRefusal('ParameterVersionNotFound', message)
    }
    const value = isPlain === true ? version.text : `AQICAHcipher${Buffer.from(version.text).toString('base64')}`
    return { Parameter: { Name: name, Type: 'SecureString', Value: value, Version: index + 1 } }
  }

  #put({ Name, Value, Overwrite: isOverwrite }: Input): Readonly<Record<string, unknown>> {
    const name = String(Name)
    if (this.#parameters.has(name) && isOverwrite !== true) {
      throw new AwsRefusal('ParameterAlreadyExists', 'The parameter already exists.')
    }
    return { Version: this.put(name, String(Value)) }
  }
}
