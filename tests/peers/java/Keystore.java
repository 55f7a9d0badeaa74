import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.util.Collections;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Opens a keystore as any Java server does, and says what is in it: {@code java Keystore.java keystore.p12 password-file}. */
public class Keystore {
    public static void main(String[] args) throws Exception {
        char[] password = Files.readAllLines(Path.of(args[1])).get(0).toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (var file = new FileInputStream(args[0])) {
            store.load(file, password);
        }
        var keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, password);
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext.getInstance("TLSv1.3").init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        for (String alias : Collections.list(store.aliases())) {
            if (!store.isKeyEntry(alias)) {
                System.out.println("root " + ((X509Certificate) store.getCertificate(alias)).getSubjectX500Principal());
                continue;
            }
            Certificate[] chain = store.getCertificateChain(alias);
            X509Certificate leaf = (X509Certificate) chain[0];
            for (int at = 0; at + 1 < chain.length; at++) {
                chain[at].verify(chain[at + 1].getPublicKey());
            }
            if (!fits((PrivateKey) store.getKey(alias, password), leaf)) {
                throw new IllegalStateException("the key is not the certificate's");
            }
            System.out.println("serial " + leaf.getSerialNumber().toString(16) + " chain " + chain.length);
        }
    }

    private static boolean fits(PrivateKey key, X509Certificate leaf) throws Exception {
        byte[] text = "one key, two halves".getBytes();
        Signature signature = Signature.getInstance("SHA256withECDSA");
        signature.initSign(key);
        signature.update(text);
        byte[] signed = signature.sign();
        signature.initVerify(leaf.getPublicKey());
        signature.update(text);
        return signature.verify(signed);
    }
}
