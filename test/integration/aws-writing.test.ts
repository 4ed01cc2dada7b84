import { after } from 'node:test'
import { parseFields } from '../../src/connections/fields.ts'
import type { AwsStoreOptions } from '../../src/stores/aws/options.ts'
import { secretsManagerReader } from '../../src/stores/aws/secrets-manager.ts'
import { loginFields, type StoreFieldValues, storeFields } from '../../src/stores/fields.ts'
import { REGION, startAwsDouble } from '../support/aws/stores-double.ts'
import { writingSuite } from '../support/writing-suite.ts'

const aws = await startAwsDouble()
after(() => aws[Symbol.asyncDispose]())

const { values } = parseFields(
  { ...storeFields, ...loginFields(['aws-sm']) },
  {
    region: REGION,
    aws_endpoint_url: aws.url,
    aws_access_key_id: 'AKIATEST',
    aws_secret_access_key: 'secret-of-the-test-key',
  },
)
const options = values as StoreFieldValues & AwsStoreOptions

writingSuite(
  'Secrets Manager',
  () => secretsManagerReader((path) => `The secret ${path}`, options, { environment: {}, connection: {} }),
  (name) => `prod/${name}`,
)
