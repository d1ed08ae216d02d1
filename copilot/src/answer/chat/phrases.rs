//! Phrases of greeting, of thanks and about the assistant, in the languages that have a stemmer here.

use crate::index::language::Language;

/// Words of one language, separated by bars: greetings, thanks and farewells, what may stand beside them, and openings of
/// questions about the assistant; one that begins with `=` is all of the question.
pub(super) struct Phrases {
    pub(super) language: Language,
    pub(super) greetings: &'static str,
    pub(super) thanks: &'static str,
    pub(super) beside: &'static str,
    pub(super) assistant: &'static str,
}

pub(super) const PHRASES: [Phrases; 8] = [
    Phrases {
        language: Language::English,
        greetings: "hi|hello|hey|hiya|howdy|greetings|yo|morning|evening|afternoon",
        thanks: "thanks|thank|thx|ty|cheers|bye|goodbye|great|cool|perfect|awesome|ok|okay|nice|super|wonderful|\
            excellent|appreciated|helpful|lol|haha|wow|yes|no",
        beside: "good|day|there|you|so|much|very|a|lot|that|helped|was|it|all|for|the|your|help|how|are|is|going|up|\
            what|s|whats|and|to|again|this|my|friend|everyone|night|see|later|really|well|doing|today|got|now|\
            me|nice|meet|have|one|many|bot|assistant|i|works|worked|solved|just|say|wanted|team|folks|dear|oh|\
            just|testing|test|guys",
        assistant: "who are you|what are you|what is your name|whats your name|what s your name|your name|are you|\
            what can you do|what do you do|=can you help me|who made you|who built you|who created you|\
            do you speak|do you understand|can you speak|can you understand|what can i ask|how do you work|\
            tell me about yourself|tell me a joke|what languages do you|which languages do you|\
            which model are you|what model are you|are you there|which languages can you|what kind of bot|\
            introduce yourself|can i talk to a human|how old are you|where are you from|do you sleep|\
            do you dream",
    },
    Phrases {
        language: Language::German,
        greetings: "hallo|moin|servus|gruss|gruß|morgen|tag|abend|grüezi|tach|hallöchen",
        thanks: "danke|dank|tschüss|tschuss|tschus|ciao|prima|super|toll|wiedersehen|klasse",
        beside: "guten|guter|gute|vielen|dir|ihnen|sehr|schön|schon|auf|wie|geht|es|s|euch|das|hat|geholfen|fur|für|\
            die|hilfe|dich|herzlichen|besten|tausend|gott|zusammen|und|war|hilfreich|nochmal|nacht|ist|dein|\
            heute",
        assistant: "wer bist du|was bist du|bist du|wie heisst du|wie heißt du|was kannst du|sprichst du|verstehst du|\
            =kannst du mir helfen|kannst du deutsch|wer sind sie|sind sie|wie heissen sie|wie heißen sie|\
            was machst du|woher kommst du|wer hat dich|wie alt bist du|erzähl mir einen witz|\
            wie funktionierst du",
    },
    Phrases {
        language: Language::French,
        greetings: "bonjour|salut|bonsoir|coucou|allo",
        thanks: "merci|revoir|parfait|super|genial|bravo",
        beside: "beaucoup|bien|bonne|journee|soiree|au|a|tous|ca|va|comment|allez|vous|tu|pour|votre|ton|aide|mille|\
            fois|vas|c|est|tout|le|monde|infiniment|nuit",
        assistant: "qui es tu|qui etes vous|es tu|etes vous|comment t appelles tu|comment tu t appelles|\
            tu t appelles comment|comment vous appelez vous|que peux tu faire|que sais tu faire|parles tu|\
            parlez vous|tu parles|quel est ton nom|quel est votre nom|tu es qui|t es qui|tu es|comprends tu|\
            comprenez vous|=peux tu m aider|=pouvez vous m aider|qui t a|qu est ce que tu peux faire|vous etes",
    },
    Phrases {
        language: Language::Spanish,
        greetings: "hola|buenas|buenos|saludos",
        thanks: "gracias|adios|chao|perfecto|genial|vale|luego",
        beside: "dias|dia|tardes|noches|muchas|mil|muchisimas|que|tal|como|estas|esta|por|tu|su|la|ayuda|hasta|a|\
            todos|todo|muy|bien|buen|amigo|me|ayudo",
        assistant: "quien eres|que eres|eres|como te llamas|cual es tu nombre|que puedes hacer|hablas|entiendes|\
            =puedes ayudarme|quien es usted|es usted|que sabes hacer|quien te|de donde eres|=me puedes ayudar|\
            cuantos anos tienes|como funcionas",
    },
    Phrases {
        language: Language::Italian,
        greetings: "ciao|buongiorno|buonasera|salve|buon|buona|buonanotte",
        thanks: "grazie|arrivederci|perfetto|ottimo|fantastico|bene",
        beside: "giorno|sera|mille|tante|molte|a|tutti|come|va|stai|sta|per|l|aiuto|il|tuo|molto|gentile|giornata|\
            tutto|di|cuore|e|notte|infinite",
        assistant: "chi sei|cosa sei|che cosa sei|sei un|sei una|sei|come ti chiami|cosa puoi fare|cosa sai fare|\
            che cosa puoi fare|parli|capisci|=puoi aiutarmi|=mi puoi aiutare|qual e il tuo nome|chi ti ha|\
            quanti anni hai|come funzioni|di dove sei|che cosa sai fare|lei e",
    },
    Phrases {
        language: Language::Portuguese,
        greetings: "ola|oi|bom|boa|alo",
        thanks: "obrigado|obrigada|valeu|tchau|perfeito|otimo|adeus|brigado",
        beside: "dia|tarde|noite|muito|tudo|bem|como|vai|esta|voce|pela|a|ajuda|por|ate|logo|mesmo|sua|e|todos|\
            pessoal|amigo|mais",
        assistant: "quem e voce|quem es tu|o que e voce|voce e|qual e o seu nome|qual e o teu nome|como voce se chama|\
            como te chamas|o que voce pode fazer|o que voce faz|voce fala|voce entende|falas|es um|es uma|\
            =pode me ajudar|=podes ajudar|quem te|quem fez voce|o que podes fazer|o que sabes fazer|\
            qual o seu nome|quantos anos",
    },
    Phrases {
        language: Language::Dutch,
        greetings: "hallo|hoi|hey|goedemorgen|goedemiddag|goedenavond|goedendag|dag|goeiemorgen",
        thanks: "bedankt|dank|dankje|dankjewel|dankuwel|doei|tot|prima|top|geweldig|super",
        beside: "je|u|wel|hoor|voor|de|het|hulp|ziens|hoe|gaat|met|allemaal|heel|erg|zeer|goed|straks|goede|jou|\
            morgen|hartelijk|hartstikke|alvast|nacht",
        assistant: "wie ben je|wie ben jij|wat ben je|wat ben jij|ben je|ben jij|hoe heet je|hoe heet jij|wat kan je|\
            wat kun je|wat kun jij|wat kan jij|spreek je|spreek jij|begrijp je|versta je|=kun je me helpen|\
            =kan je me helpen|wie bent u|bent u|hoe heet u|wie heeft je|hoe oud ben je|hoe werk je",
    },
    Phrases {
        language: Language::Swedish,
        greetings: "hej|hejsan|tjena|hallå|halla|godmorgon|tjenare|morsning|goddag",
        thanks: "tack|tackar|hejdå|hejda|hejdo|perfekt|bra|toppen|adjö",
        beside: "så|sa|mycket|för|for|hjälpen|hjalpen|god|dag|morgon|kväll|kvall|hur|mår|mar|du|läget|laget|är|ar|\
            det|pa|dig|allihopa|tusen|snalla|natt|bra",
        assistant: "vem ar du|vem är du|vad ar du|vad är du|ar du|är du|vad heter du|vad kan du|talar du|pratar du|\
            forstar du|förstår du|=kan du hjalpa mig|vem har|hur gammal ar du|hur fungerar du",
    },
];
/// Greetings and thanks of languages without stems here.
pub(super) const ELSEWHERE: [&str; 34] = [
    "こんにちは",
    "こんばんは",
    "おはよう",
    "おはようございます",
    "ありがとう",
    "ありがとうございます",
    "やあ",
    "もしもし",
    "你好",
    "您好",
    "谢谢",
    "早上好",
    "嗨",
    "哈喽",
    "再见",
    "안녕하세요",
    "안녕",
    "감사합니다",
    "고마워요",
    "привет",
    "здравствуйте",
    "спасибо",
    "добрый день",
    "مرحبا",
    "شكرا",
    "السلام عليكم",
    "नमस्ते",
    "धन्यवाद",
    "γεια σου",
    "ευχαριστώ",
    "שלום",
    "merhaba",
    "dziękuję",
    "cześć",
];
