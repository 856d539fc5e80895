/** What is used of the AWS SDK, to be imported when it is: by name, so that a bundle has no more of it. */
export { DecryptCommand, GenerateDataKeyCommand, GetPublicKeyCommand, KMSClient, SignCommand } from "@aws-sdk/client-kms";
